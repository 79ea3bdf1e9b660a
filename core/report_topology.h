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

#endif
