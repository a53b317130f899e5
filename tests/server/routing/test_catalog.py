import pytest
from hypothesis import given
from hypothesis import strategies as st

from crma_adapters.errors import ConfigError, StoreError, UnknownModelError
from crma_router.conversation.sessions import SessionKey
from crma_server.routing.catalog import BASE_TARGET, Canary, Catalog, adapter_entry, backbone_entry, label_of

MEDICAL, LEGAL, CRMA = "de91ac039f2f", "c9904dbfa161", "a0afad0b46d1"


@pytest.fixture
def catalog() -> Catalog:
    adapters = {
        "medical": adapter_entry("medical", MEDICAL, CRMA),
        "pirate": adapter_entry("pirate", LEGAL, None),
    }
    return Catalog(adapters, backbone_entry(CRMA), ["smollm2"])


@pytest.mark.parametrize(
    ("name", "engine_model"),
    [
        ("medical", f"medical@{MEDICAL}+{CRMA}"),
        (f"medical@{MEDICAL}", f"medical@{MEDICAL}+{CRMA}"),
        (f"medical@{MEDICAL}+{CRMA}", f"medical@{MEDICAL}+{CRMA}"),
        ("medical:crma-off", f"medical@{MEDICAL}:crma-off"),
        (f"medical@{MEDICAL}:crma-off", f"medical@{MEDICAL}:crma-off"),
        ("pirate", f"pirate@{LEGAL}"),
        ("pirate:crma-off", f"pirate@{LEGAL}"),
        ("backbone", f"backbone@{CRMA}"),
        (f"backbone@{CRMA}", f"backbone@{CRMA}"),
        ("backbone:crma-off", "base"),
        ("base", "base"),
        ("base:crma-off", "base"),
    ],
)
def test_a_name_means_one_target(catalog: Catalog, name: str, engine_model: str) -> None:
    selection = catalog.select(name)
    assert selection.entry is not None
    assert selection.entry.target(crma=selection.crma).engine_model == engine_model


@pytest.mark.parametrize(
    ("name", "crma"),
    [("auto", True), ("smollm2", True), ("auto:crma-off", False), ("smollm2:crma-off", False)],
)
def test_auto_and_the_served_name_route(catalog: Catalog, name: str, crma: bool) -> None:
    selection = catalog.select(name)
    assert selection.entry is None
    assert selection.crma is crma


def test_every_engine_name_is_a_name_clients_may_use(catalog: Catalog) -> None:
    for target in catalog.targets():
        selection = catalog.select(target.engine_model)
        assert selection.entry is not None
        assert selection.entry.target(crma=selection.crma) == target


@pytest.mark.parametrize(
    "name",
    [
        "medica",
        "Medical",
        "medical@",
        "medical@000000000000",
        f"pirate@{MEDICAL}",
        "auto:crma",
        "",
        ":crma-off",
    ],
)
def test_an_unknown_name_is_refused_with_what_exists(catalog: Catalog, name: str) -> None:
    with pytest.raises(
        UnknownModelError, match="expected one of auto, smollm2, medical, pirate, backbone, base"
    ):
        catalog.select(name)


def test_a_near_miss_gets_a_suggestion(catalog: Catalog) -> None:
    with pytest.raises(UnknownModelError, match="did you mean 'medical'"):
        catalog.select("medicine")


def test_without_a_backbone_the_fallback_is_the_base_model() -> None:
    catalog = Catalog({"medical": adapter_entry("medical", MEDICAL, None)}, None)
    assert catalog.fallback.target(crma=True) == BASE_TARGET
    with pytest.raises(UnknownModelError, match="'backbone' does not exist"):
        catalog.select("backbone")


OLD, OLDER_CRMA = "0123456789ab", "ba9876543210"


@pytest.fixture
def with_history() -> Catalog:
    """A canary beside `medical`, and two earlier releases: the last on the same backbone, one on another."""
    return Catalog(
        {"medical": adapter_entry("medical", MEDICAL, CRMA)},
        backbone_entry(CRMA),
        canaries={"medical": Canary(adapter_entry("medical", LEGAL, CRMA), 0.1)},
        kept=[
            adapter_entry("medical", OLD, CRMA),
            adapter_entry("legal", OLD, CRMA),
            adapter_entry("medical", OLD, OLDER_CRMA),
            adapter_entry("medical", MEDICAL, OLDER_CRMA),
            backbone_entry(OLDER_CRMA),
        ],
    )


@pytest.mark.parametrize(
    ("name", "engine_model"),
    [
        ("medical", f"medical@{MEDICAL}+{CRMA}"),
        (f"medical@{MEDICAL}", f"medical@{MEDICAL}+{CRMA}"),
        (f"medical@{MEDICAL}+{OLDER_CRMA}", f"medical@{MEDICAL}+{OLDER_CRMA}"),
        (f"medical@{OLD}", f"medical@{OLD}+{CRMA}"),
        (f"medical@{OLD}+{OLDER_CRMA}", f"medical@{OLD}+{OLDER_CRMA}"),
        (f"medical@{OLD}:crma-off", f"medical@{OLD}:crma-off"),
        (f"medical@{LEGAL}", f"medical@{LEGAL}+{CRMA}"),
        (f"legal@{OLD}", f"legal@{OLD}+{CRMA}"),
        (f"backbone@{OLDER_CRMA}", f"backbone@{OLDER_CRMA}"),
    ],
)
def test_exact_names_of_canaries_and_of_kept_releases(
    with_history: Catalog, name: str, engine_model: str
) -> None:
    selection = with_history.select(name)
    assert selection.entry is not None
    assert selection.entry.target(crma=selection.crma).engine_model == engine_model


def test_a_domain_that_is_gone_has_no_alias(with_history: Catalog) -> None:
    with pytest.raises(UnknownModelError):
        with_history.select("legal")


def test_only_an_alias_has_a_canary(with_history: Catalog) -> None:
    trial = with_history.select("medical").canary
    assert trial is not None
    assert trial.weight == 0.1
    assert with_history.select("medical:crma-off").canary == trial == with_history.canary("medical")
    assert with_history.select(f"medical@{MEDICAL}").canary is None


def test_what_is_live_and_what_is_only_named_are_apart(with_history: Catalog) -> None:
    live = [target.engine_model for target in with_history.targets()]
    named = [target.engine_model for target in with_history.kept_targets()]
    assert f"medical@{LEGAL}+{CRMA}" in live
    assert f"medical@{LEGAL}:crma-off" in live
    assert set(named) == {
        f"medical@{OLD}+{CRMA}", f"medical@{OLD}:crma-off", f"medical@{OLD}+{OLDER_CRMA}",
        f"medical@{MEDICAL}+{OLDER_CRMA}", f"legal@{OLD}+{CRMA}", f"legal@{OLD}:crma-off",
        f"backbone@{OLDER_CRMA}",
    }  # fmt: skip
    assert len(live) == len(set(live))
    for target in (*with_history.targets(), *with_history.kept_targets()):
        assert label_of(target.engine_model) == target.label
    listed = [listing.name for listing in with_history.listings(everything=True)]
    assert len(listed) == len(set(listed))
    assert f"medical@{OLD}+{OLDER_CRMA}" in listed


def test_the_base_model_has_no_version() -> None:
    assert label_of("base") == BASE_TARGET.label == ("base", None, False)


def test_targets_are_each_listed_once_crma_first(catalog: Catalog) -> None:
    assert [target.engine_model for target in catalog.targets()] == [
        f"medical@{MEDICAL}+{CRMA}",
        f"pirate@{LEGAL}",
        f"backbone@{CRMA}",
        f"medical@{MEDICAL}:crma-off",
    ]


def test_pickers_see_the_names_people_choose_from(catalog: Catalog) -> None:
    names = [listing.name for listing in catalog.listings()]
    assert names == ["auto", "smollm2", "medical", "pirate", "backbone", "base"]


def test_aliases_come_first(catalog: Catalog) -> None:
    names = [listing.name for listing in catalog.listings(everything=True)]
    assert names[:6] == [listing.name for listing in catalog.listings()]


@pytest.mark.parametrize(
    ("name", "root"),
    [
        ("auto", None),
        ("medical", f"medical@{MEDICAL}+{CRMA}"),
        ("medical:crma-off", f"medical@{MEDICAL}:crma-off"),
        (f"medical@{MEDICAL}", f"medical@{MEDICAL}+{CRMA}"),
        ("base", "base"),
    ],
)
def test_any_name_that_answers_has_a_line(catalog: Catalog, name: str, root: str | None) -> None:
    assert (catalog.listing(name).name, catalog.listing(name).root) == (name, root)
    with pytest.raises(UnknownModelError):
        catalog.listing("nobody")


def test_listings_hold_every_useful_name(catalog: Catalog) -> None:
    names = [listing.name for listing in catalog.listings(everything=True)]
    assert len(set(names)) == len(names)
    assert {"auto", "smollm2", "base", "backbone", "medical", "medical:crma-off", "pirate"} <= set(names)
    assert "pirate:crma-off" not in names  # it would be the same thing
    for name in names:
        catalog.select(name)


def test_the_root_of_an_alias_is_its_exact_name(catalog: Catalog) -> None:
    roots = {listing.name: listing.root for listing in catalog.listings()}
    assert roots["medical"] == f"medical@{MEDICAL}+{CRMA}"


def test_an_adapter_may_not_take_a_name_with_a_meaning() -> None:
    with pytest.raises(StoreError, match="'auto'"):
        Catalog({"auto": adapter_entry("auto", MEDICAL, CRMA)}, None)


def test_a_served_name_may_not_hide_an_adapter() -> None:
    with pytest.raises(ConfigError, match="--served-model-name 'medical'"):
        Catalog({"medical": adapter_entry("medical", MEDICAL, CRMA)}, None, ["medical"])


WEIGHTS = st.floats(0.001, 0.999)


def canary(weight: float, version: str = "a" * 12) -> Canary:
    return Canary(adapter_entry("medical", version, None), weight)


@given(st.binary(min_size=1), WEIGHTS, WEIGHTS)
def test_a_growing_weight_only_adds_sessions(session: bytes, one: float, other: float) -> None:
    key = SessionKey.of("session", session)
    small, large = sorted((one, other))
    assert canary(small).answers(key, "medical") <= canary(large).answers(key, "medical")


def test_the_share_is_the_weight_and_another_canary_draws_others() -> None:
    keys = [SessionKey.of("session", b"%d" % n) for n in range(4000)]
    first = {n for n, key in enumerate(keys) if canary(0.2).answers(key, "medical")}
    second = {n for n, key in enumerate(keys) if canary(0.2, "b" * 12).answers(key, "medical")}
    elsewhere = {n for n, key in enumerate(keys) if canary(0.2).answers(key, "legal")}
    for drawn in (first, second, elsewhere):
        assert 700 < len(drawn) < 900
    for other in (second, elsewhere):
        assert 100 < len(first & other) < 220  # independent draws share 160


def test_the_draw_is_the_same_in_every_process() -> None:
    drawn = [n for n in range(12) if canary(0.5).answers(SessionKey.of("session", b"%d" % n), "medical")]
    assert drawn == [3, 5, 7]
