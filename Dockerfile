# A model behind HTTP, without PyTorch.
#
#   featherlight export runs/a --to onnx
#   docker build -t featherlight .
#   docker run --rm -p 8000:8000 -v "$PWD/runs/a/onnx:/model:ro" --read-only --tmpfs /tmp featherlight
#
# With keys: add  -v "$PWD/keys.txt:/run/keys.txt:ro"  and at the end  /model --api-key-file /run/keys.txt
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN python -m venv /opt/featherlight \
    && /opt/featherlight/bin/pip install --no-cache-dir ".[serve,onnxruntime]"

FROM python:3.12-slim
RUN useradd --system --no-create-home --shell /usr/sbin/nologin featherlight
COPY --from=build /opt/featherlight /opt/featherlight
ENV PATH="/opt/featherlight/bin:$PATH" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER featherlight
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["featherlight", "serve", "--host", "0.0.0.0", "--port", "8000"]
CMD ["/model"]
