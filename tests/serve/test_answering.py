from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from running_server import BLACK, GREY, Running, form, picture, run_server, write_colour_model

from featherlight.predictor import Predictor

PROBLEM = "application/problem+json"
FORM = "multipart/form-data; boundary=b"


def part(disposition: bytes) -> bytes:
    return b"--b\r\nContent-Disposition: form-data; %s\r\n\r\nx\r\n" % disposition


def assert_problem(response: httpx.Response, status: int, *words: str) -> dict[str, Any]:
    assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM), response.text
    problem: dict[str, Any] = response.json()
    assert {"type", "title", "status", "detail"} <= set(problem)
    assert problem["status"] == status
    for word in words:
        assert word in problem["detail"]
    return problem


def post(client: httpx.Client, body: bytes, kind: str = "image/png", **options: Any) -> httpx.Response:
    return client.post("/v1/predict", content=body, headers={"content-type": kind}, **options)


def as_json(*images: bytes) -> dict[str, list[str]]:
    return {"images": [base64.b64encode(image).decode() for image in images]}


def test_form_is_answered_with_the_rows_of_predict(client: httpx.Client, colour_model: Path) -> None:
    response = client.post("/v1/predict?top=2", files=form("red", "green", "blue"))
    assert response.status_code == 200
    expected = Predictor(colour_model).predict([picture(colour) for colour in ("red", "green", "blue")], top=2)
    rows = response.json()["predictions"]
    assert [row.pop("path") for row in rows] == ["red-0.png", "green-1.png", "blue-2.png"]
    assert rows == [{key: value for key, value in row.to_row().items() if key != "path"} for row in expected]


def test_body_json_and_form_give_the_same_answer(client: httpx.Client) -> None:
    image = picture("green", kind="JPEG")
    answers = [
        post(client, image, "image/jpeg"),
        post(client, image, "application/octet-stream"),
        client.post("/v1/predict", content=image),
        client.post("/v1/predict", json=as_json(image)),
        client.post("/v1/predict", json={"images": ["data:image/jpeg;base64," + as_json(image)["images"][0]]}),
        client.post("/v1/predict", files={"files": ("image 0", image)}),
    ]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].json()["predictions"][0]["label"] == "green"


@pytest.mark.parametrize(("top", "listed"), [(None, 3), (1, 1), (2, 2), (100, 3)])
def test_top_lists_so_many_classes(client: httpx.Client, top: int | None, listed: int) -> None:
    response = post(client, picture(), params={} if top is None else {"top": top})
    assert len(response.json()["predictions"][0]["top"]) == listed


def test_images_of_different_sizes_keep_their_order(client: httpx.Client) -> None:
    sizes = [(30, 20), (10, 40), (30, 20), (11, 11), (10, 40), (64, 64)]
    colours = ["red", "blue", "green", "red", "green", "blue"]
    files = [("files", (colour, picture(colour, size))) for colour, size in zip(colours, sizes, strict=True)]
    rows = client.post("/v1/predict", files=files).json()["predictions"]
    assert [row["path"] for row in rows] == [row["label"] for row in rows] == colours


def test_unreadable_image_is_a_row_among_the_others(client: httpx.Client) -> None:
    files = [*form("red"), ("files", ("bad.png", b"no image")), ("files", ("cut.png", picture()[:50]))]
    response = client.post("/v1/predict", files=files)
    assert response.status_code == 200
    good, bad, cut = response.json()["predictions"]
    assert good["label"] == "red"
    assert bad == {"path": "bad.png", "error": "not an image (PNG, JPEG, WebP, BMP, GIF, TIFF or PPM)"}
    assert set(cut) == {"path", "error"}


def test_nothing_but_unreadable_images_is_400_with_their_rows(client: httpx.Client) -> None:
    assert_problem(post(client, b"no image"), 400, "cannot read the image: not an image")
    assert_problem(post(client, b""), 400, "empty file")
    problem = assert_problem(client.post("/v1/predict", json=as_json(b"a", b"")), 400, "any of the 2 images")
    assert [set(row) for row in problem["predictions"]] == [{"path", "error"}] * 2


@pytest.fixture(scope="module")
def doubtful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of a model that rejects what is grey, and gives no numbers for what is black."""
    path, reject = tmp_path_factory.mktemp("doubtful") / "model.onnx", {"score": "probability", "threshold": 0.9}
    with run_server(write_colour_model(path, fragile=True, reject=reject)) as running:
        yield running


def test_image_for_which_the_model_gives_no_numbers_does_not_take_others_with_it(doubtful: Running) -> None:
    black = ("files", ("black.png", picture(BLACK)))
    with doubtful.client() as client:
        rows = client.post("/v1/predict", files=[*form("red"), black, *form("blue")]).json()["predictions"]
        assert [row.get("label") for row in rows] == ["red", None, "blue"]
        assert rows[1] == {"path": "black.png", "error": "the model could not compute it"}
        assert_problem(client.post("/v1/predict", files=[black]), 500, "fault of the server")


def test_image_of_no_class_is_rejected(doubtful: Running) -> None:
    with doubtful.client() as client:
        files = [*form("red"), ("files", ("grey.png", picture(GREY)))]
        rows = client.post("/v1/predict", files=files).json()["predictions"]
        assert [row["rejected"] for row in rows] == [False, True]
        assert client.get("/v1/model").json()["rejects"] is True
        assert doubtful.metric("featherlight_images_total", '{outcome="rejected"}') == 1


def test_too_many_pixels_are_413_before_they_are_decoded(client: httpx.Client) -> None:
    image = picture(size=(1001, 1000))
    problem = assert_problem(post(client, image), 413, "too large: 1001 x 1000 pixels, at most 1 million are read")
    assert problem["predictions"][0]["path"] == "image 0"
    assert post(client, picture(size=(1000, 1000))).status_code == 200
    mixed = client.post("/v1/predict", files=[*form("red"), ("files", ("huge", image))])
    assert mixed.status_code == 200
    assert mixed.json()["predictions"][1]["error"].startswith("too large")


def test_too_large_body_is_413_whether_it_says_its_size_or_not(client: httpx.Client) -> None:
    assert_problem(post(client, bytes(1_000_001)), 413, "larger than 1,000,000 bytes")
    pieces = client.post("/v1/predict", content=(bytes(60_000) for _ in range(20)))  # chunked
    assert_problem(pieces, 413, "larger than 1,000,000 bytes")
    assert_problem(post(client, bytes(1_000_000)), 400)
    assert post(client, picture()).status_code == 200


def test_body_that_is_announced_too_large_is_refused_before_it_is_sent(server: Running) -> None:
    head = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n"
    with server.socket() as connection:
        connection.sendall(head)
        answer = server.read_all(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in answer


def test_too_many_files_are_413(client: httpx.Client) -> None:
    assert client.post("/v1/predict", files=form(*["red"] * 8)).status_code == 200
    for count in (9, 10, 200):
        assert_problem(client.post("/v1/predict", files=form(*["red"] * count)), 413, "more than 8 images")
        assert_problem(client.post("/v1/predict", json=as_json(*[picture()] * count)), 413, "more than 8 images")


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"a=b", "application/x-www-form-urlencoded", 415),
        (b"text", "text/plain", 415),
        (b"<svg/>", "", 415),
        (b"{", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"[]", "application/json", 422),
        (b"{}", "application/json", 422),
        (b'{"images": []}', "application/json", 422),
        (b'{"images": [7]}', "application/json", 422),
        (b'{"images": "abcd"}', "application/json", 422),
        (b'{"images": ["?"]}', "application/json", 422),
        (b'{"images": ["\xc3\xa4"]}', "application/json", 422),
        (b'{"images": ["YQ=="]}', "application/json; charset=utf-8", 400),
        (b"x", "multipart/form-data", 400),
        (b"x", FORM, 400),
        (b"--b--\r\n", FORM, 422),
        (b"--b\r\n\r\nx\r\n--b--\r\n", FORM, 400),
        (part(b'name="files"') + b"--b--\r\n", FORM, 422),
        (part(b'name="file"; filename="a"') + b"--b--\r\n", FORM, 422),
        (part(b'name="files"; filename="a"'), FORM, 400),
        (part(b'name="files"; filename="\xff\xed\xa0\x80"') + b"--b--\r\n", FORM, 400),
        (part(b'name="files"; filename="' + b"x" * 100_000 + b'"') + b"--b--\r\n", FORM, 400),
        (b"--b\r\n" + b"x" * 500_000, FORM, 400),
        (b"--" + b"b" * 900_000, "multipart/form-data; boundary=" + "b" * 500, 400),
    ],
)  # fmt: skip
def test_body_that_is_not_as_described_is_refused(client: httpx.Client, body: bytes, kind: str, status: int) -> None:
    assert_problem(post(client, body, kind), status)


def test_compressed_body_is_415(client: httpx.Client) -> None:
    headers = {"content-type": "image/png", "content-encoding": "gzip"}
    assert_problem(client.post("/v1/predict", content=picture(), headers=headers), 415, "compressed")


@pytest.mark.parametrize("top", ["0", "-1", "many", "1e3", "", "100001", "1" * 5000])
def test_top_that_is_no_proper_number_is_422(client: httpx.Client, top: str) -> None:
    assert_problem(post(client, picture(), params={"top": top}), 422, "query top")


@pytest.mark.parametrize("name", ["/etc/passwd", "file:///etc/passwd", "http://127.0.0.1/a.png", "../x.png"])
def test_paths_and_addresses_are_names_and_nothing_is_opened(client: httpx.Client, name: str) -> None:
    row = client.post("/v1/predict", files=[("files", (name, picture()))]).json()["predictions"][0]
    assert (row["path"], row["label"]) == (name, "red")
    assert_problem(post(client, name.encode(), "application/octet-stream"), 400, "not an image")
    assert_problem(client.post("/v1/predict", json={"images": [name]}), 422, "no base64")


def test_long_and_odd_names_come_back_as_json(client: httpx.Client) -> None:
    rows = client.post(
        "/v1/predict", files=[("files", (name, picture())) for name in ("猫.png", "x" * 1000)]
    ).json()["predictions"]  # fmt: skip
    assert [row["path"] for row in rows] == ["猫.png", "x" * 255]


def test_model_is_described(client: httpx.Client) -> None:
    found = client.get("/v1/model").json()
    assert found["classes"] == ["blue", "green", "red"]
    assert (found["model"], found["engine"], found["threads"]) == ("colour_means", "onnxruntime", 2)
    assert found["preprocessing"]["input_size"] == 16
    assert found["limits"] == {
        "max_body_bytes": 1_000_000,
        "max_pixels": 1_000_000,
        "max_files": 8,
        "request_timeout_s": 20.0,
    }
    assert found["latency_ms"] > 0
    assert "/" not in json.dumps(found)  # no path of this machine


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nothing", 404), ("GET", "/v1/predict", 405), ("POST", "/", 405)]
)
def test_wrong_addresses_are_problems(client: httpx.Client, method: str, path: str, status: int) -> None:
    assert_problem(client.request(method, path), status)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="there is no /proc")
def test_exported_file_is_served_without_torch(server: Running) -> None:
    loaded = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "onnxruntime" in loaded
    assert "torch" not in loaded


def test_health(client: httpx.Client) -> None:
    assert [client.get(path).json() for path in ("/healthz", "/readyz")] == [{"status": "ok"}] * 2


def test_numbers_are_counted(server: Running, client: httpx.Client) -> None:
    def numbers() -> list[float]:
        return [
            server.metric("featherlight_images_total", '{outcome="answered"}'),
            server.metric("featherlight_images_total", '{outcome="unreadable"}'),
            server.metric("featherlight_requests_total", '{route="/v1/predict",status="200"}'),
            server.metric("featherlight_batch_images_sum"),
            server.metric("featherlight_decode_seconds_count"),
        ]

    before = numbers()
    client.post("/v1/predict", files=[*form("red", "green"), ("files", ("bad", b"x"))])
    assert [after - number for after, number in zip(numbers(), before, strict=True)] == [2, 1, 1, 2, 2]
    assert server.metric("featherlight_queue_images") == server.metric("featherlight_held_bytes") == 0


def test_log_has_a_line_a_request_without_names_or_images(server: Running, client: httpx.Client) -> None:
    client.post("/v1/predict", files=[("files", ("private-name.png", picture()))], params={"top": 3})
    server.wait_for_line("POST /v1/predict 200 images=1 bytes=")
    client.get("/a%0Ab%1B[31m")
    server.wait_for_line(r"GET /a\nb\x1b[31m 404")
    assert "private-name" not in "\n".join(server.lines)
