"""What the specification of Comfy API v2 lets a client ask, and what it forbids: each answer is one that it has."""

from __future__ import annotations

from typing import Any, Final

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.openapi.checks import *  # noqa

from tests.integration.gateway.test_comfy_sdk import GRAPH
from tests.support.comfy_contract import FILE
from tests.support.gateway import Gateway
from tests.support.gateway_worker import HandWorker

SCHEMA: Final = schemathesis.openapi.from_path(FILE)
CALLS: Final = {each.ok().label: each.ok() for each in SCHEMA.get_all_operations()}
EXAMPLES: Final = 25


@pytest.mark.parametrize("mode", [*GenerationMode])
@pytest.mark.parametrize("call", CALLS)
def test_every_answer_is_one_that_the_specification_has(
    gateway: Gateway, worker: HandWorker, call: str, mode: GenerationMode
) -> None:
    operation = CALLS[call]
    bad = []
    @hypothesis.settings(
        max_examples=EXAMPLES, database=None, derandomize=True, deadline=None,
        suppress_health_check=[*hypothesis.HealthCheck],
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        import time
        t=time.time()
        answer = case.call(base_url=gateway.url)
        try:
            case.validate_response(answer)
        except BaseExceptionGroup as e:
            bad.append((case.as_curl_command()[:600], answer.status_code, answer.text[:300], [str(x)[:300] for x in e.exceptions]))
        except Exception as e:
            bad.append((case.as_curl_command()[:600], answer.status_code, answer.text[:300], str(e)[:900]))

    ask()
    for b in bad[:4]: print("BAD", b)
    assert not bad
