from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oauthlib.common import Request
from oauthlib.oauth1 import Client
from oauthlib.oauth1.rfc5849 import signature as theirs

from webfw.auth.oauth1_signature import (
    authorization_header,
    base_string,
    base_string_uri,
    hmac_sha1,
    percent_encode,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def test_the_base_string_of_the_rfc() -> None:
    """RFC 5849 sections 3.4.1.1 and 3.4.1.3.2."""
    parameters = [
        ("oauth_consumer_key", "9djdj82h48djs9d2"),
        ("oauth_token", "kkk9d7dh3k39sjv7"),
        ("oauth_signature_method", "HMAC-SHA1"),
        ("oauth_timestamp", "137131201"),
        ("oauth_nonce", "7d8f3e4a"),
        ("oauth_signature", "bYT5CMsGcbgUdFHObYMEfcx6bsw="),
        ("c2", ""),
        ("a3", "2 q"),
    ]
    url = "http://EXAMPLE.COM:80/request?b5=%3D%253D&a3=a&c%40=&a2=r%20b"
    assert base_string("post", url, parameters) == (
        "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26"
        "c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1%26"
        "oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
    )


def test_the_signature_of_the_rfc() -> None:
    """RFC 5849 section 1.2: the photo that printer.example.com fetches."""
    parameters = [
        ("oauth_consumer_key", "dpf43f3p2l4k3l03"),
        ("oauth_token", "nnch734d00sl2jdk"),
        ("oauth_signature_method", "HMAC-SHA1"),
        ("oauth_timestamp", "137131202"),
        ("oauth_nonce", "chapoH"),
    ]
    text = base_string("GET", "http://photos.example.net/photos?file=vacation.jpg&size=original", parameters)
    assert hmac_sha1(text, "kd94hf93k423kf44", "pfkkdhi9sl3r4s00") == "MdpQcU8iPSUjWoN/UDMsK2sui9I="


def test_the_example_of_oauth_core() -> None:
    """OAuth Core 1.0, appendix A.5."""
    parameters = [
        ("oauth_consumer_key", "dpf43f3p2l4k3l03"),
        ("oauth_token", "nnch734d00sl2jdk"),
        ("oauth_signature_method", "HMAC-SHA1"),
        ("oauth_timestamp", "1191242096"),
        ("oauth_nonce", "kllo9940pd9333jh"),
        ("oauth_version", "1.0"),
    ]
    text = base_string("GET", "http://photos.example.net/photos?file=vacation.jpg&size=original", parameters)
    assert hmac_sha1(text, "kd94hf93k423kf44", "pfkkdhi9sl3r4s00") == "tR3+Ty81lMeYAr/Fid0kMTYa/WM="


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://EXAMPLE.com:80/r%20v/X?id=123", "http://example.com/r%20v/X"),
        ("https://www.example.net:8080/?q=1", "https://www.example.net:8080/"),
        ("HTTPS://example.net:443", "https://example.net/"),
        ("http://example.net:443/a;b", "http://example.net:443/a;b"),
        ("http://user:word@example.net/", "http://example.net/"),
        ("http://[::1]:80/", "http://[::1]/"),
        ("http://[::1]:8000/", "http://[::1]:8000/"),
    ],
)
def test_base_string_uri(url: str, wanted: str) -> None:
    assert base_string_uri(url) == wanted


@pytest.mark.parametrize("url", ["/path", "example.com/path", "", "http:///path", "http://h:port/"])
def test_only_absolute_addresses(url: str) -> None:
    with pytest.raises(ValueError, match=r"absolute|[Pp]ort"):
        base_string_uri(url)


@given(TEXT)
def test_percent_encoding_as_oauthlib(text: str) -> None:
    assert percent_encode(text) == theirs.utils.escape(text)


@given(
    st.sampled_from(["GET", "POST", "put"]),
    st.lists(st.tuples(TEXT, TEXT), max_size=6),
    st.lists(st.tuples(TEXT, TEXT), max_size=4),
    TEXT,
    TEXT,
)
def test_as_oauthlib(
    method: str,
    parameters: list[tuple[str, str]],
    query: list[tuple[str, str]],
    secret: str,
    token_secret: str,
) -> None:
    encoded = "&".join(f"{percent_encode(name)}={percent_encode(value)}" for name, value in query)
    url = f"http://photos.example.net/photos?{encoded}"
    ours = base_string(method, url, parameters)
    collected = query + [pair for pair in parameters if pair[0] != "oauth_signature"]
    text = theirs.signature_base_string(
        method, theirs.base_string_uri(url), theirs.normalize_parameters(collected)
    )
    assert ours == text

    class Keys:
        client_secret = secret
        resource_owner_secret = token_secret

    assert hmac_sha1(ours, secret, token_secret) == theirs.sign_hmac_sha1_with_client(text, Keys)


@given(st.dictionaries(st.sampled_from(["token", "nonce", "verifier"]), TEXT, max_size=3))
def test_the_header_is_read_back(parameters: dict[str, str]) -> None:
    header = authorization_header({f"oauth_{name}": value for name, value in parameters.items()})
    read: dict[str, Any] = dict(
        theirs.collect_parameters(headers={"Authorization": header}, exclude_oauth_signature=False)
    )
    assert read == {f"oauth_{name}": value for name, value in parameters.items()}


def test_a_whole_request_as_oauthlib_signs_it() -> None:
    client = Client("key", "sec&ret", "token", "tok=en", timestamp="137131200", nonce="abc")
    url = "https://api.example.org/1?x=a+b&x=%2B"
    text = base_string("GET", url, client.get_oauth_params(Request(url)))
    _, headers, _ = client.sign(url)
    assert (
        f'oauth_signature="{percent_encode(hmac_sha1(text, "sec&ret", "tok=en"))}"'
        in headers["Authorization"]
    )
