"""Prompts that ComfyUI refuses: what is missing is said, with where it belongs."""

from __future__ import annotations

from pathlib import Path

import pytest

from comfy.doctor.diagnose import diagnose
from comfy.doctor.report import Finding, Severity, Status

REAL = Path(__file__).parents[3] / "data" / "comfyui" / "logs"
FAILED = (
    "invalid prompt: {'type': 'prompt_outputs_failed_validation', "
    "'message': 'Prompt outputs failed validation', 'details': '', 'extra_info': {}}\n"
)


def refusals(log: str | bytes) -> list[Finding]:
    return [each for each in diagnose(log).findings if each.id == "prompt-refused"]


def refused(*complaints: str) -> str:
    lines = "".join(f"  - {each}\n" for each in complaints)
    head = "got prompt\nFailed to validate prompt for output 61:\n* SomeNode 37:\n"
    return f"{head}{lines}Output will be ignored\n{FAILED}"


@pytest.mark.parametrize(
    ("complaint", "message", "remedy"),
    [
        (
            "Value not in list: unet_name: 'a.safetensors' not in []",
            "no file a.safetensors, and no other",
            "models/diffusion_models",
        ),
        (
            "Value not in list: lora_name: 'b.safetensors' not in (list of length 40)",
            "no file b.safetensors",
            "models/loras",
        ),
        (
            "Value not in list: clip_name: 'umt5.gguf' not in ['x']",
            "no file umt5.gguf",
            "models/text_encoders",
        ),
        (
            "Value not in list: model: 'WanVideo/c.safetensors' not in ['x']",
            "no file WanVideo/c.safetensors",
            "the models folder",
        ),
        ("Value not in list: video: 'clip.mp4' not in []", "no file clip.mp4", "ComfyUI's input folder"),
        (
            "Custom validation failed for node: image - Invalid image file: start.png",
            "start.png",
            "ComfyUI's input folder",
        ),
        (
            "Value not in list: scheduler: 'beta57' not in ['normal', 'karras']",
            "'beta57'",
            "set scheduler to one of those",
        ),
        ("Required input is missing: clip", "Required input is missing: clip", "link or set that input"),
        ("Value 0 smaller than min of 1: steps", "smaller than min of 1: steps", "between the node's bounds"),
        (
            "Return type mismatch between linked nodes: vae, received_type(CLIP) mismatch input_type(VAE)",
            "received_type(CLIP)",
            "link an output",
        ),
        ("Exception when validating inner node: '4'", "Exception when validating", "farm lint"),
    ],
)
def test_what_does_not_pass_the_check_is_told_with_where_it_belongs(
    complaint: str, message: str, remedy: str
) -> None:
    (finding,) = refusals(refused(complaint))

    assert message in finding.message
    assert remedy in finding.remedy
    assert (finding.severity, finding.prompt) == (Severity.ERROR, 1)
    assert complaint in finding.evidence[0].text


@pytest.mark.parametrize("version", ["0.3.64", "0.12.1", "0.33.0"])
def test_refusals_of_real_servers_are_read(version: str) -> None:
    messages = [each.message for each in refusals((REAL / version / "run.log").read_bytes())]

    assert "the server has no node NoSuchNode" in messages
    assert any("FLOAT value: seconds" in message for message in messages)


def test_each_thing_that_is_missing_is_told_once() -> None:
    twice = refused("Required input is missing: clip", "Value not in list: vae_name: 'v.pt' not in []") * 2

    findings = refusals(twice)

    assert [each.evidence[0].times for each in findings] == [2, 2]


def test_a_prompt_that_is_refused_while_another_runs_is_no_fault_of_that_one() -> None:
    log = (
        "got prompt\nRequested to load WAN21\n" + refused("Required input is missing: clip")
        + "Prompt executed in 9.00 seconds\n"
    )  # fmt: skip

    report = diagnose(log)

    assert [prompt.status for prompt in report.prompts] == [Status.DONE, Status.REFUSED]
    assert [(each.id, each.prompt) for each in report.findings] == [("prompt-refused", 2)]


def test_a_refusal_of_which_nothing_more_is_told_is_told_as_that() -> None:
    (finding,) = refusals("got prompt\ninvalid prompt: {'type'\n")

    assert finding.message == "the prompt did not pass the check"


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (
            (
                'ComfyUI errored: {\n  "error": {\n    "type": "invalid_prompt",\n'
                '    "message": "Cannot execute because node Resize does not exist.",\n'
                '    "details": "Node ID \'#1\'"\n  }\n}\n'
            ),
            "the server has no node Resize",
        ),
        (
            (
                "# ComfyUI Error Report\n## Error Details\n- **Exception Type:** Prompt execution failed\n"
                "- **Exception Message:** Prompt outputs failed validation: \n"
            ),
            "the prompt did not pass the check",
        ),
        (
            (
                "# ComfyUI Error Report\n- **Exception Message:** Prompt outputs failed validation: \n"
                "## Logs\n"
                "got prompt\nFailed to validate prompt for output 5:\n* UNETLoader 35:\n"
                "  - Value not in list: unet_name: 'wan' not in []\nOutput will be ignored\n"
                "invalid prompt: {'type': 'prompt_outputs_failed_validation', "
                "'message': 'Prompt outputs failed validation', 'details': '', 'extra_info': {}}\n"
            ),
            "unet_name: the node does not take 'wan', but []",
        ),
    ],
    ids=["as its sender prints the answer", "the editor's report", "the report, and the log in it"],
)
def test_a_refusal_is_told_by_whoever_was_answered_too(log: str, message: str) -> None:
    report = diagnose(log)

    assert [prompt.status for prompt in report.prompts] == [Status.REFUSED]
    assert [(finding.id, finding.message) for finding in report.findings] == [("prompt-refused", message)]
