"""Keys of the farm: what they may look like, and which key a thing gets."""

from __future__ import annotations

import pytest

from farm.limits import check_key
from farm.storage.keys import KeyLayout, media_type_of, parse_s3_uri, safe_name
from tests.support.jobs import TOKEN


def test_attempts_never_share_a_key() -> None:
    keys = KeyLayout(prefix="team-a/renders")

    assert keys.job_prefix("0123456789ab") == "team-a/renders/jobs/0123456789ab/"
    prefix = keys.attempt_prefix("0123456789ab", TOKEN)
    assert prefix == f"team-a/renders/jobs/0123456789ab/{TOKEN}/"
    assert keys.attempt_of(f"{prefix}clip.mp4") == ("0123456789ab", TOKEN)


@pytest.mark.parametrize(
    ("key", "attempt"),
    [
        ("t/jobs/0123456789ab/12/clip.mp4", ("0123456789ab", "12")),  # as attempts were named by number
        ("t/jobs/0123456789ab/notes/clip.mp4", None),
        (f"t/jobs/0123456789ab/{TOKEN}", None),
        (f"t/jobs/0123456789ab/{TOKEN}0/clip.mp4", None),
        (f"other/jobs/0123456789ab/{TOKEN}/clip.mp4", None),
    ],
)
def test_a_key_tells_whose_it_is(key: str, attempt: tuple[str, str] | None) -> None:
    assert KeyLayout(prefix="t").attempt_of(key) == attempt


def test_an_input_is_named_by_its_content() -> None:
    assert KeyLayout().input_key("ab" * 32, ".PNG") == f"inputs/{'ab' * 32}.png"


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("WAN_00001_.mp4", "wan_00001_.mp4"),
        ("my clip (final) ü.mp4", "my-clip-final-.mp4"),
        ("../../etc/passwd", "passwd"),
        ("..\\windows\\x.png", "x.png"),
        (".hidden", "hidden"),
        ("日本.webm", "file.webm"),
        ("...", "file"),
        ("", "file"),
        ("x" * 300 + ".mp4", "x" * 196 + ".mp4"),
        ("a." + "b" * 300, "a." + "b" * 198),
    ],
)
def test_any_file_name_becomes_one_segment(filename: str, expected: str) -> None:
    name = safe_name(filename)

    assert name == expected
    assert check_key(name) == name


def test_a_key_longer_than_s3_takes_is_refused() -> None:
    with pytest.raises(ValueError, match="1024"):
        check_key("/".join(["x" * 200] * 6))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.mp4", "video/mp4"),
        ("A.WEBP", "image/webp"),
        ("jobs/x/1/a.webm", "video/webm"),
        ("a", "application/octet-stream"),
        ("a.safetensors", "application/octet-stream"),
    ],
)
def test_the_ending_says_the_media_type(name: str, expected: str) -> None:
    assert media_type_of(name) == expected


def test_an_s3_address_has_bucket_and_key() -> None:
    assert parse_s3_uri("s3://my-bucket/a/B%20c.png") == ("my-bucket", "a/B c.png")


@pytest.mark.parametrize(
    "uri",
    ["s3://", "s3://bucket", "s3://bucket/", "s3:///key", "http://a/b", "s3://k:s@b/key", "s3://b/k?x=1"],
)
def test_anything_else_is_no_s3_address(uri: str) -> None:
    with pytest.raises(ValueError, match="s3://bucket/key"):
        parse_s3_uri(uri)
