import asyncio

from crma_server.routing.selector import InFlight


def test_a_lease_holds_one_key_at_a_time() -> None:
    counts = InFlight()
    with counts.ref() as lease:
        lease.hold("release")
        assert (counts.count("release"), counts.count("model")) == (1, 0)
        lease.hold("model")
        assert (counts.count("release"), counts.count("model")) == (0, 1)
    assert counts.count("model") == 0


def test_a_lease_ends_with_an_error_too() -> None:
    counts = InFlight()
    try:
        with counts.ref() as lease:
            lease.hold("model")
            raise ValueError
    except ValueError:
        pass
    assert counts.count("model") == 0


def test_leaving_twice_counts_once() -> None:
    counts = InFlight()
    other = counts.ref()
    other.hold("model")
    with counts.ref() as lease:
        lease.hold("model")
        lease.leave()
    assert counts.count("model") == 1


def test_idle_waits_for_the_last_one_and_for_no_other() -> None:
    async def play() -> list[str]:
        counts, seen = InFlight(), list[str]()
        leases = {name: counts.ref() for name in ("a1", "a2", "b")}
        for name, lease in leases.items():
            lease.hold(name[0])

        async def wait(key: str) -> None:
            await counts.idle(key)
            seen.append(f"{key} idle")

        waiting = [asyncio.create_task(wait(key)) for key in ("a", "b", "never held")]
        for name in ("a1", "b", "a2"):
            await asyncio.sleep(0)
            seen.append(f"{name} leaves")
            leases[name].leave()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        await asyncio.gather(*waiting)
        return seen

    seen = asyncio.run(play())
    assert seen == ["never held idle", "a1 leaves", "b leaves", "b idle", "a2 leaves", "a idle"]
