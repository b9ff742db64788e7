# SPDX-License-Identifier: Apache-2.0
"""Bars and lines as SVG text. Two kinds of picture do not need a plotting package: Debian's smallest,
gnuplot-nox, brings cairo, pango, gd and Lua along."""
from html import escape
from math import ceil, floor, log10

COLOURS = {"kedge": "#1b6ca8", "etcd": "#e07b39", "kine": "#7a8b99", "echo": "#c9d1d8"}
NAMES = {"echo": "no store"}
STYLE = "font-family:sans-serif;font-size:12px;fill:#222"


class Picture:
    def __init__(self, width, height):
        self.width, self.height = width, height
        self.parts = []

    def rect(self, x, y, width, height, colour):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" '
                          f'height="{max(height, 0):.1f}" fill="{colour}"/>')

    def line(self, x1, y1, x2, y2, colour="#ddd", width=1):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
                          f'stroke="{colour}" stroke-width="{width}"/>')

    def curve(self, points, colour):
        where = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{where}" fill="none" stroke="{colour}" '
                          'stroke-width="2"/>')
        for x, y in points:
            self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')

    def text(self, x, y, text, anchor="start", bold=False):
        weight = ' font-weight="bold"' if bold else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight}>'
                          f'{escape(text)}</text>')

    def legend(self, x, y, kinds):
        for kind in kinds:
            self.rect(x, y - 9, 10, 10, COLOURS[kind])
            name = NAMES.get(kind, kind)
            self.text(x + 14, y, name)
            x += 30 + 7 * len(name)

    def save(self, path):
        with open(path, "w", encoding="utf-8") as out:
            out.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" '
                      f'height="{self.height}" viewBox="0 0 {self.width} {self.height}" '
                      f'style="{STYLE}">\n<rect width="100%" height="100%" fill="white"/>\n')
            out.write("\n".join(self.parts) + "\n</svg>\n")


def short(value):
    if value >= 1e6:
        return f"{value / 1e6:.3g}M"
    if value >= 1e3:
        return f"{value / 1e3:.3g}k"
    return f"{value:.3g}"


def bars(path, title, rows, kinds):
    """rows: (label, {kind: (median, low, high)}); each row scaled to its own largest value."""
    label_width, bar_width, bar_height = 330, 330, 13
    height = 50 + sum(len([k for k in kinds if k in v]) * bar_height + 12 for _, v in rows)
    picture = Picture(label_width + bar_width + 80, height)
    picture.text(10, 20, title, bold=True)
    picture.legend(label_width, 20, kinds)
    y = 38
    for label, values in rows:
        shown = [k for k in kinds if k in values]
        most = max(values[k][2] for k in shown) or 1
        middle = y + len(shown) * bar_height / 2 + 4
        picture.text(label_width - 8, middle, label, "end")
        for kind in shown:
            value, low, high = values[kind]
            scale = bar_width / most
            picture.rect(label_width, y + 1, value * scale, bar_height - 2, COLOURS[kind])
            if high > low:
                picture.line(label_width + low * scale, y + bar_height / 2,
                             label_width + high * scale, y + bar_height / 2, "#222")
            picture.text(label_width + max(value, high) * scale + 5, y + bar_height - 2,
                         short(value))
            y += bar_height
        y += 12
    picture.save(path)


def axis_range(values):
    low, high = floor(log10(min(values))), ceil(log10(max(values)))
    return low, max(high, low + 1)


def lines(path, title, x_title, y_title, series, logarithmic=(True, True)):
    """series: {kind: [(x, y)]}; decades are marked on logarithmic axes."""
    left, top, width, height = 70, 40, 440, 260
    points = [p for s in series.values() for p in s if p[0] > 0 and p[1] > 0]
    if not points:
        return
    picture = Picture(left + width + 20, top + height + 50)
    picture.text(10, 20, title, bold=True)
    picture.legend(left + width - 200, 36, list(series))
    ranges = []
    for axis, is_log in enumerate(logarithmic):
        values = [p[axis] for p in points]
        ranges.append(axis_range(values) if is_log else (0, max(values) * 1.1))

    def place(value, axis):
        low, high = ranges[axis]
        at = ((log10(value) if logarithmic[axis] else value) - low) / (high - low)
        return left + at * width if axis == 0 else top + height - at * height

    for axis, is_log in enumerate(logarithmic):
        low, high = ranges[axis]
        marks = [10.0 ** d for d in range(low, high + 1)] if is_log else [
            high * i / 5 for i in range(6)]
        for mark in marks:
            at = place(mark, axis)
            if axis == 0:
                picture.line(at, top, at, top + height)
                picture.text(at, top + height + 16, short(mark), "middle")
            else:
                picture.line(left, at, left + width, at)
                picture.text(left - 6, at + 4, short(mark), "end")
    picture.text(left + width / 2, top + height + 38, x_title, "middle")
    picture.text(left - 60, top - 6, y_title)
    for kind, found in series.items():
        picture.curve([(place(x, 0), place(y, 1)) for x, y in found if x > 0 and y > 0],
                      COLOURS[kind])
    picture.save(path)
