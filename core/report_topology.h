/*
 * Who talks to whom, for people (`blaze topology`), for programs and for graphviz (`.blaze/topology.json`, `.dot`).
 */
#ifndef BLAZE_CORE_REPORT_TOPOLOGY_H
#define BLAZE_CORE_REPORT_TOPOLOGY_H

#include "core/report.h"

/** Lines, each with its newline. */
void report_topology_text(const struct report_source *src, struct buf *out);
/** One JSON object on one line, without a newline. */
void report_topology_json(const struct report_source *src, struct buf *out);
/** A graph in the language of dot(1). */
void report_topology_dot(const struct report_source *src, struct buf *out);
/**
 * If the pattern leaves this device nobody to talk to now, though it has peers, because its relays or its centre do not answer: a
 * line that says so, and what to do. Nothing else.
 */
void report_topology_cut_off(const struct report_source *src, struct buf *out);
/** The same as a member of a JSON object, with a comma after it: "cut_off":"…", "" if it is not. */
void report_topology_cut_off_json(const struct report_source *src, struct buf *out);

#endif
