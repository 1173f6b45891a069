"""Seconds and errors of the ladder of sizes (chapter 90); the table is `scale.reports.ladder`'s."""

from manifold_utils.plots.style import FACTOR_STYLES, plain_log

ERRORS = {"coordinates": "three coordinates", "stress": "stress of three axes"}


def plot_ladder_seconds(ax, table):
    """Seconds against points, a line for each way; returns `ax`."""
    for (way, rows), (colour, marker, dash) in zip(table.groupby("way", sort=False), FACTOR_STYLES, strict=False):
        ax.loglog(rows.points, rows.seconds, color=colour, marker=marker, ls=dash, label=way)
    ax.set(xlabel="points", ylabel="seconds")
    plain_log(ax.xaxis)
    plain_log(ax.yaxis)
    ax.legend(fontsize="small")
    return ax


def plot_ladder_errors(ax, table):
    """Errors of the landmarks at m/20 against points; returns `ax`."""
    rows = table[table.way == "landmarks"].dropna(subset=["coordinates"])
    for (name, label), (colour, marker, dash) in zip(ERRORS.items(), FACTOR_STYLES, strict=False):
        ax.loglog(rows.points, rows[name], color=colour, marker=marker, ls=dash, label=label)
    ax.set(xlabel="points", ylabel="error of the landmarks, m/20")
    plain_log(ax.xaxis)
    ax.legend(fontsize="small")
    return ax
