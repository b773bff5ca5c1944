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


@pytest.mark.parametrize("value", ["triton:8000", "grpc://triton:8001"])
def test_url_without_http_is_refused(value: str) -> None:
    with pytest.raises(SettingError, match=f"SILHOUETTE_TRITON_URL must be http://.*, got {re.escape(repr(value))}; "):
        settings.triton_url({"SILHOUETTE_TRITON_URL": value})
    with pytest.raises(SettingError, match=f"PICTURE_SERVICE_URL must be http://.*, got {re.escape(repr(value))}; "):
        settings.picture_service_settings({"SILHOUETTE_PICTURE_SERVICE_URL": value})
