"""The plot: share of right answers per arm, by domain and over all, with Wilson's intervals."""

from pathlib import Path

from matplotlib.figure import Figure

from crma_eval.learning.ablation.results import Results

# Okabe and Ito's colours, told apart by colour-blind eyes too; one per arm, whichever arms there are.
COLOURS = {
    "on": "#0072B2",
    "off": "#E69F00",
    "lora-only": "#009E73",
    "mixer-only": "#56B4E9",
    "base": "#999999",
    "backbone": "#CC79A7",
}


def draw(results: Results, title: str, path: Path) -> None:
    """Write the PNG `path`."""
    groups: list[str | None] = [None, *results.domains]
    width = 0.82 / len(results.arms)
    figure = Figure(figsize=(10, 4.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    for place, arm in enumerate(results.arms):
        shares = [results.share(arm, group) for group in groups]
        heights = [100 * share.right / share.asked for share in shares]
        whiskers = [
            (height - 100 * share.interval[0], 100 * share.interval[1] - height)
            for height, share in zip(heights, shares, strict=True)
        ]
        centres = [index + (place - (len(results.arms) - 1) / 2) * width for index in range(len(groups))]
        low, high = ([max(0.0, pair[side]) for pair in whiskers] for side in (0, 1))
        style = {"elinewidth": 0.9, "capsize": 2, "ecolor": "#333333"}
        axes.bar(
            centres, heights, 0.94 * width, label=arm.name, color=COLOURS[arm.name], yerr=(low, high),
            error_kw=style,
        )  # fmt: skip
        for centre, height, share in zip(centres, heights, shares, strict=True):
            top = 100 * share.interval[1]
            axes.text(centre, max(top, height) + 1.5, str(share.right), ha="center", fontsize=8)
    labels = [f"{group or 'all'}\n({results.share(results.arms[0], group).asked})" for group in groups]
    axes.set_xticks(range(len(groups)), labels)
    axes.axvline(0.5, color="#bbbbbb", linewidth=0.8)
    axes.set_ylim(0, 108)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel("answered exactly (%), Wilson 95% interval")
    axes.set_xlabel("domain (questions asked); figures over the bars: answers that are right")
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(path)
