#!/usr/bin/env python3
"""Reads a timeline as any other program would: `timeline_check.py FILE`.

Holds the file against the rules of Chrome's trace format and against what a port can do, then prints as JSON what each configuration's
phases say: bytes between racks, the slowest rank and its time, the number of frames. Knows nothing of the program that wrote the file.
Exit code: 0 it keeps the rules, 1 it breaks one, which is said.
"""

import json
import sys
from collections import defaultdict
from decimal import Decimal

KEYS = {
    "M": {"name", "ph", "pid", "tid", "args"},
    "X": {"name", "cat", "ph", "ts", "dur", "pid", "tid", "args"},
    "i": {"name", "ph", "s", "ts", "pid", "tid", "args"},
    "s": {"name", "cat", "ph", "id", "ts", "pid", "tid"},
    "f": {"name", "cat", "ph", "bp", "id", "ts", "pid", "tid"},
    "C": {"name", "ph", "ts", "pid", "tid", "args"},
}


def need(truth, *what):
    if not truth:
        raise SystemExit(f"broken rule: {' '.join(map(str, what))}")


def events_of(text):
    """All events; of a file that was cut, those whose lines are whole."""
    try:
        return json.loads(text, parse_float=Decimal), True
    except json.JSONDecodeError:
        pass
    need(text.startswith("["), "the file is no array")
    lines = text[1:].split("\n")[1:]
    events = []
    for number, line in enumerate(lines):
        try:
            events.append(json.loads(line.strip().lstrip(","), parse_float=Decimal))
        except json.JSONDecodeError:
            need(number + 1 == len(lines), "line", number, "is no event, and not the last:", line)
    return events, False


def check_shape(events):
    for event in events:
        kind = event.get("ph")
        need(kind in KEYS, "unknown ph", event)
        need(set(event) == KEYS[kind], "keys of", kind, event)
        need(isinstance(event["name"], str) and event["name"], "name", event)
        need(all(type(event[key]) is int and event[key] >= 0 for key in ("pid", "tid")), "pid, tid", event)
        for key in ("ts", "dur"):
            if key in event:
                need(isinstance(event[key], (int, Decimal)) and event[key] >= 0, key, event)
        need(isinstance(event.get("args", {}), dict), "args", event)
    need(events and events[0]["ph"] == "M" and any(event["name"] == "otherData" for event in events), "otherData")


def check_names(events):
    processes = {event["pid"] for event in events if event["name"] == "process_name"}
    threads = {(event["pid"], event["tid"]): event["args"]["name"] for event in events if event["name"] == "thread_name"}
    for event in events:
        need(event["pid"] in processes, "a process without a name", event)
        if event["ph"] in "Xisf":
            need((event["pid"], event["tid"]) in threads, "a thread without a name", event)
    return threads


def lanes_of(events):
    lanes = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            lanes[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"], event))
    return lanes


def check_lanes(lanes, threads):
    """Slices of a lane are one after the other or one in the other; at a port never two at once."""
    for place, slices in lanes.items():
        port = threads[place].startswith(("send", "receive"))
        # At a port a mark that takes no time goes before what begins with it; elsewhere what holds others goes before them.
        order = sorted(slices, key=lambda one: (one[0], one[1] if port else -one[1]))
        open_ = []
        for start, end, event in order:
            while open_ and open_[-1] <= start:
                open_.pop()
            need(not open_ or end <= open_[-1], "slices that cross", place, event)
            need(not (port and open_), "two transfers at one port at a time", place, event)
            open_.append(end)


def check_arrows(events, lanes, whole):
    starts = {place: {start for start, _, _ in slices} for place, slices in lanes.items()}
    ends = defaultdict(dict)
    for event in events:
        if event["ph"] in "sf":
            need(event["ph"] not in ends[event["id"]], "an arrow with two ends of a kind", event)
            ends[event["id"]][event["ph"]] = event
            need(event["ts"] in starts.get((event["pid"], event["tid"]), ()), "an arrow at no slice", event)
    for pair in ends.values():
        need(not whole or len(pair) == 2, "half an arrow", pair)
        if len(pair) == 2:
            need(pair["s"]["ts"] <= pair["f"]["ts"], "an arrow backwards", pair)
            need(pair["s"]["pid"] != pair["f"]["pid"], "an arrow to itself", pair)
            need((pair["s"]["name"], pair["s"]["cat"]) == (pair["f"]["name"], pair["f"]["cat"]), "names differ", pair)
    return len(ends)


def check_counters(events, complete):
    tracks = defaultdict(list)
    for event in events:
        if event["ph"] == "C":
            need(len(event["args"]) == 1, "a counter of several", event)
            tracks[event["pid"], event["name"]].append((event["ts"], *event["args"].values()))
    for track, points in tracks.items():
        need(all(one[0] <= two[0] for one, two in zip(points, points[1:])), "time goes back", track)
        need(all(value >= 0 for _, value in points), "less than nothing waits", track)
        need(not complete or points[-1][1] == 0 or not track[1].startswith(("send", "receive")), "never empty", track)


def answers(events, lanes, threads):
    """What each configuration says, in the file's order."""
    run = next(event["pid"] for event in events if event["name"] == "process_name" and event["args"]["name"] == "run")
    of_run = sorted((one for place, all_ in lanes.items() if place[0] == run for one in all_), key=lambda one: one[0])
    category = lambda name: [one for one in of_run if one[2]["cat"] == name]
    by_kind = defaultdict(list)
    for place, slices in lanes.items():
        if place[0] != run:
            by_kind[threads[place]].extend(slices)
    told = []
    for begin, end, configuration in category("configuration"):
        phases = []
        for start, stop, phase in category("phase"):
            if not (begin <= start and stop <= end and phase["args"].get("slowest_rank") is not None):
                continue
            within = lambda kind: [
                one for one in by_kind[kind]
                if start <= one[0] and one[1] <= stop and one[2]["args"].get("phase", one[2]["name"]) == phase["name"]
            ]
            frames = within("receive scale-up") + within("receive scale-out")
            for kind in ("send scale-up", "send scale-out", "receive scale-up", "receive scale-out"):
                busy = defaultdict(Decimal)
                for one in within(kind):
                    busy[one[2]["pid"]] += one[1] - one[0]
                need(all(time <= stop - start for time in busy.values()), kind, "is busy for longer than the phase")
            ranks = {one[2]["pid"]: one[1] - start for one in within("phases")}
            slowest = max(ranks, key=lambda rank: (ranks[rank], -rank)) if ranks else None
            phases.append({
                "phase": phase["name"],
                "us": float(stop - start),
                "bytes_between_racks": sum(one[2]["args"]["bytes"] for one in within("send scale-out")),
                "bytes_in_racks": sum(one[2]["args"]["bytes"] for one in within("send scale-up")),
                "frames": len(frames),
                "slowest_rank": slowest,
                "slowest_us": float(ranks[slowest]) if ranks else None,
                "said": {key: int(value) for key, value in phase["args"].items()},
            })
        args = configuration["args"]
        told.append({"title": configuration["name"], "times": args["times"],
                     "one_frame_in": args.get("one_frame_in"), "phases": phases})
    return told


def count_of(words):
    counts = defaultdict(int)
    for word in words:
        counts[word] += 1
    return counts


def most_of(events):
    """The largest value of each counter, over all processes."""
    most = defaultdict(int)
    for event in events:
        if event["ph"] == "C":
            most[event["name"]] = max(most[event["name"]], *event["args"].values())
    return most


def check_by_perfetto(path, events):
    """What Perfetto's own reader makes of it; says if there is none."""
    try:
        from perfetto.trace_processor import TraceProcessor
        processor = TraceProcessor(trace=path)
    except Exception as error:  # not installed, or its program can't be had
        return f"skipped: no trace processor of Perfetto here ({type(error).__name__})"
    count = lambda what: next(iter(processor.query(f"select count(*) as n from {what}"))).n
    kinds = lambda kinds: sum(event["ph"] in kinds for event in events)
    need(count("slice") == kinds("Xi"), "Perfetto reads other slices")
    need(count("flow") == kinds("s"), "Perfetto reads other arrows")
    need(count("counter") == kinds("C"), "Perfetto reads other counters")
    processor.close()
    return "read"


def main(path):
    with open(path, encoding="utf-8") as file:
        events, whole = events_of(file.read())
    check_shape(events)
    need(not whole or events[-1]["name"] == "end", "the end is missing")
    threads = check_names(events)
    lanes = lanes_of(events)
    check_lanes(lanes, threads)
    arrows = check_arrows(events, lanes, whole)
    left_out = int(events[-1]["args"]["events_left_out"]) if whole else None
    check_counters(events, left_out == 0)
    told = {
        "whole": whole, "events": len(events), "arrows": arrows,
        "counters": sum(event["ph"] == "C" for event in events),
        "left_out": left_out,
        "slices": count_of(event["cat"] for event in events if event["ph"] == "X"),
        "most": most_of(events),
        "configurations": answers(events, lanes, threads),
        "perfetto": check_by_perfetto(path, events) if whole else "not asked: the file was cut",
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1])
