"""Where things are comes from the environment; what is missing or wrong is said with the way out."""

import re

import pytest

from silhouette import settings
from silhouette.errors import SettingError

STORE = {
    "SILHOUETTE_S3_ENDPOINT": "127.0.0.1:9000",
    "SILHOUETTE_S3_ACCESS_KEY": "reader",
    "SILHOUETTE_S3_SECRET_KEY": "very-hidden",
}


def test_store_settings_have_a_bucket_and_plain_http_unless_told() -> None:
    found = settings.store_settings(STORE)
    assert (found.endpoint, found.bucket, found.secure) == ("127.0.0.1:9000", "silhouette", False)


def test_store_settings_take_bucket_and_https_from_the_environment() -> None:
    found = settings.store_settings({**STORE, "SILHOUETTE_S3_BUCKET": "photos", "SILHOUETTE_S3_SECURE": "1"})
    assert (found.bucket, found.secure) == ("photos", True)


@pytest.mark.parametrize("name", STORE)
@pytest.mark.parametrize("value", ["", "   ", None])
def test_missing_variable_is_named_with_the_way_out(name: str, value: str | None) -> None:
    environ = {key: text for key, text in {**STORE, name: value}.items() if text is not None}
    with pytest.raises(SettingError, match=f"^{name} must be set, it is empty; start the embedded services with"):
        settings.store_settings(environ)


def test_endpoint_with_a_scheme_is_refused() -> None:
    with pytest.raises(SettingError, match=r"must be host:port without a scheme, got 'http://minio:9000'; start"):
        settings.store_settings({**STORE, "SILHOUETTE_S3_ENDPOINT": "http://minio:9000"})


@pytest.mark.parametrize("value", ["true", "yes", "2"])
def test_unclear_answer_about_https_is_refused_not_taken_for_no(value: str) -> None:
    with pytest.raises(SettingError, match=f"SILHOUETTE_S3_SECURE must be 0 or 1, got '{value}'; start"):
        settings.store_settings({**STORE, "SILHOUETTE_S3_SECURE": value})


def test_secrets_are_not_in_what_is_printed() -> None:
    token = settings.PictureServiceSettings(url="http://127.0.0.1:1", token="very-hidden")
    assert "very-hidden" not in repr(settings.store_settings(STORE)) + repr(token)


def test_settings_cannot_be_given_a_secret_in_the_wrong_place() -> None:
    with pytest.raises(TypeError):
        settings.StoreSettings("127.0.0.1:9000", "reader", "very-hidden")  # type: ignore[call-arg]


def test_dsn_is_returned_as_it_is() -> None:
    dsn = "postgresql://silhouette:a%2Fb@127.0.0.1:5432/silhouette"
    assert settings.postgres_dsn({"SILHOUETTE_POSTGRES_DSN": dsn}) == dsn


def test_missing_dsn_is_named() -> None:
    with pytest.raises(SettingError, match="SILHOUETTE_POSTGRES_DSN must be set"):
        settings.postgres_dsn({})


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://127.0.0.1:8000/", "http://127.0.0.1:8000//"])
def test_url_loses_its_last_slash(url: str) -> None:
    assert settings.triton_url({"SILHOUETTE_TRITON_URL": url}) == "http://127.0.0.1:8000"
    found = settings.picture_service_settings({"SILHOUETTE_PICTURE_SERVICE_URL": url})
    assert found == settings.PictureServiceSettings(url="http://127.0.0.1:8000", token="")


def test_token_of_the_picture_service_is_read() -> None:
    environ = {"SILHOUETTE_PICTURE_SERVICE_URL": "http://127.0.0.1:1", "SILHOUETTE_PICTURE_SERVICE_TOKEN": "t"}
    assert settings.picture_service_settings(environ).token == "t"


def test_token_from_a_file_loses_its_line_end() -> None:
    environ = {"SILHOUETTE_PICTURE_SERVICE_URL": "http://127.0.0.1:1", "SILHOUETTE_PICTURE_SERVICE_TOKEN": " t\n"}
    assert settings.picture_service_settings(environ).token == "t"


@pytest.mark.parametrize("url", ["ftp://user:very-hidden@host", "user:very-hidden@host:80"])
def test_password_in_a_malformed_url_is_not_in_the_message(url: str) -> None:
    with pytest.raises(SettingError, match="PICTURE_SERVICE_URL must be http://") as caught:
        settings.picture_service_settings({"SILHOUETTE_PICTURE_SERVICE_URL": url})
    assert "very-hidden" not in str(caught.value)


def allowed(value: str) -> frozenset[tuple[str, int]]:
    environ = {"SILHOUETTE_PICTURE_SERVICE_URL": "http://127.0.0.1:1", "SILHOUETTE_ALLOWED_ADDRESSES": value}
    return settings.picture_service_settings(environ).allowed_addresses


def test_no_further_address_is_allowed_unless_told() -> None:
    assert allowed("") == allowed(" , ") == frozenset()
    assert settings.PictureServiceSettings(url="http://127.0.0.1:1").allowed_addresses == frozenset()


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("minio:9000", {("minio", 9000)}),
        (" Minio.Kubeflow.svc. :9000".replace(" :", ":"), {("minio.kubeflow.svc", 9000)}),
        ("10.0.0.7:80,\n[::1]:8080,", {("10.0.0.7", 80), ("::1", 8080)}),
        ("[FD00:0:0::1]:1", {("fd00::1", 1)}),
    ],
)
def test_allowed_addresses_are_exact_hosts_and_ports(value: str, found: set[tuple[str, int]]) -> None:
    assert allowed(value) == found


@pytest.mark.parametrize(
    "value",
    ["minio", "minio:", "minio:x", "minio:0", "minio:65536", ":80", "http://minio:9000", "minio:9000/x", "*:80",
     "10.0.0.0/8", "10.0.0.0/8:80", "::1:80", "[::1]", "[x]:80", "[:::]:80", "a b:80", "*.svc:80", "minio:9000;other:1",
     "minio:-1"],
)  # fmt: skip
def test_malformed_allowed_address_is_named_with_the_way_out(value: str) -> None:
    with pytest.raises(SettingError, match=r"SILHOUETTE_ALLOWED_ADDRESSES must .*, got .*; correct it"):
        allowed(f"good:1,{value}")


def test_password_in_an_allowed_address_is_not_in_the_message() -> None:
    with pytest.raises(SettingError) as caught:
        allowed("http://user:very-hidden@minio:9000")
    assert "very-hidden" not in str(caught.value)


@pytest.mark.parametrize("value", ["triton:8000", "grpc://triton:8001"])
def test_url_without_http_is_refused(value: str) -> None:
    with pytest.raises(SettingError, match=f"SILHOUETTE_TRITON_URL must be http://.*, got {re.escape(repr(value))}; "):
        settings.triton_url({"SILHOUETTE_TRITON_URL": value})
    with pytest.raises(SettingError, match=f"PICTURE_SERVICE_URL must be http://.*, got {re.escape(repr(value))}; "):
        settings.picture_service_settings({"SILHOUETTE_PICTURE_SERVICE_URL": value})
