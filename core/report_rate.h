/*
 * How fast it goes with each peer with which something is under way: `blaze status`. While nothing is, nothing is said.
 */
#ifndef BLAZE_CORE_REPORT_RATE_H
#define BLAZE_CORE_REPORT_RATE_H

#include "core/report.h"

/** A line for each such peer, with its newline: "  desk  1.2 MB/s out, 3 kB/s in, about 4 s left". */
void report_rate_text(const struct report_source *src, struct buf *out);
/** A member of a JSON object, with a comma before it: ,"rates":[…], empty while nothing is under way. */
void report_rate_json(const struct report_source *src, struct buf *out);

#endif
