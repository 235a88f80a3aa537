from __future__ import annotations

import re

import httpx
import pytest


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/docs.css", "/healthz", "/nothing"])
def test_every_answer_has_headers_that_keep_browsers_safe(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "server" not in headers


def test_description_comes_from_here_alone_and_without_scripts(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert set(re.findall(r'(?:src|href)="([^"#]+)"', page.text)) == {"docs.css", "openapi.json"}
    assert "<script" not in page.text
    assert "style=" not in page.text
    for words in ("/v1/predict", "/v1/model", "multipart/form-data", "Retry-After", "curl -F files=@cat.jpg"):
        assert words in page.text


def test_openapi_names_endpoints_bodies_and_problems(client: httpx.Client) -> None:
    api = client.get("/openapi.json").json()
    assert set(api["paths"]) == {"/v1/predict", "/v1/model", "/metrics", "/healthz", "/readyz"}
    predict = api["paths"]["/v1/predict"]["post"]
    assert set(predict["requestBody"]["content"]) == {
        "multipart/form-data", "application/json", "image/*", "application/octet-stream",
    }  # fmt: skip
    assert set(predict["responses"]) == {"200", "400", "408", "413", "415", "422", "503"}
    assert set(predict["responses"]["400"]["content"]) == {"application/problem+json"}


@pytest.mark.parametrize("path", ["/../app.py", "/..%2fapp.py", "/static/../app.py", "/app.py", "/templates/docs.html"])
def test_no_file_beside_the_page_can_be_read(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_root_is_a_page(client: httpx.Client) -> None:
    page = client.get("/", follow_redirects=True)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert client.head("/", follow_redirects=True).status_code == 200
