from crma_eval.learning.ablation.arms import BACKBONE, BASE, LORA_ONLY, MIXER_ONLY, OFF, ON, answerable


def test_the_names_asked_for() -> None:
    models = [arm.model("medical") for arm in (ON, OFF, LORA_ONLY, MIXER_ONLY, BASE, BACKBONE)]
    assert models == ["medical", "medical:crma-off", "medical-lora", "medical-mixer", "base", "backbone"]


def test_an_arm_needs_its_model_for_every_domain() -> None:
    models = {"medical", "legal", "medical:crma-off", "legal:crma-off", "medical-lora", "base"}
    assert answerable(["medical", "legal"], models) == (ON, OFF, BASE)
    assert answerable(["medical"], models) == (ON, OFF, LORA_ONLY, BASE)
