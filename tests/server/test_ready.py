import json
import shlex

from crma_router.policy import Policy, RoutingDecision
from crma_server.ready import example, ready_message
from crma_server.routing.catalog import Catalog, adapter_entry, backbone_entry
from crma_server.routing.selector import Live

CRMA = "a0afad0b46d1"


class KnowsLaw:
    policy = Policy()

    def route_known(self, text: str) -> RoutingDecision | None:  # noqa: ARG002
        return None

    def route_many(self, texts: list[str]) -> list[RoutingDecision]:
        return [self.route(text) for text in texts]

    def route(self, text: str) -> RoutingDecision:
        domain = "legal" if "contract" in text else None
        return RoutingDecision(domain, 0.9, "routed" if domain else "fallback", "", {}, 0, 1)


def live(*domains: str, router: KnowsLaw | None) -> Live:
    adapters = {name: adapter_entry(name, "0" * 12, CRMA) for name in domains}
    return Live(Catalog(adapters, backbone_entry(CRMA)), router, 1)


def test_the_example_is_one_the_router_sends_to_an_adapter() -> None:
    question, adapter = example(live("legal", router=KnowsLaw()))
    assert ("contract" in question, adapter) == (True, "legal")


def test_without_such_a_question_the_fallback_is_promised() -> None:
    assert example(live("cooking", router=KnowsLaw()))[1] == "backbone"
    assert example(live("legal", router=None))[1] == "backbone"


def test_the_curl_can_be_pasted_into_a_shell() -> None:
    message = ready_message("http://127.0.0.1:8000", live("legal", router=KnowsLaw()))
    assert message.startswith("crma ready on http://127.0.0.1:8000\n")
    command = shlex.split(message[message.index("curl") :])
    assert command[0] == "curl"
    assert "http://127.0.0.1:8000/v1/chat/completions" in command
    assert json.loads(command[command.index("-d") + 1])["model"] == "auto"


def test_where_a_key_is_needed_the_example_has_a_place_for_it() -> None:
    given = live("legal", router=KnowsLaw())
    keyed, without = (
        ready_message("http://127.0.0.1:8000", given, needs_key=needs) for needs in (True, False)
    )
    assert "Authorization: Bearer $YOUR_KEY" in shlex.split(keyed[keyed.index("curl") :])
    assert "Authorization" not in without
