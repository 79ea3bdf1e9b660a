/*
 * The verdict and what stands behind it. Everything is gathered once, at one moment, and then only
 * formatted, so that sentence, table and JSON of one report cannot contradict each other.
 *
 * What makes the sentence true (P7): the count of changes is taken before the question whether all
 * is acknowledged, so "all N changes are there" speaks of no more than the answer covers; and what fs
 * still holds back counts as not sent.
 */
#include "core/report.h"

#include "core/adopt.h"
#include "core/hold.h"
#include "core/db_chunks.h"
#include "core/json.h"
#include "core/log.h"
#include "core/report_rate.h"
#include "core/report_topology.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* Problems listed by name; the rest is counted. */
#define PROBLEMS_LISTED_MAX 100

struct problem {
	char *path; /* as shown: db has escaped it */
	uint32_t conflicts;
	bool not_json;
	bool large;	 /**< too large to travel */
	bool large_json; /* no problem, but to be known */
	struct json_error error;
	struct id node;
};

struct peer {
	struct peer_status s;
	uint64_t behind;
};

struct facts {
	struct db_stats stats;
	struct db_missing missing;
	bool acked;
	bool removed; /* this device, by another */
	uint64_t held;
	uint64_t unsent; /* changes that some other device may lack; without peers 0 */
	struct peer *peers;
	size_t peer_count;
	struct problem *problems;
	size_t problem_count; /* listed */
	uint64_t not_json_count;
	uint64_t large_count;
	uint64_t conflict_count;
	uint64_t now_ms;
};

/* ---- gathering ------------------------------------------------------------------------------ */

static void facts_fini(struct facts *f)
{
	for (size_t i = 0; i < f->problem_count; i++)
		free(f->problems[i].path);
	free(f->problems);
	free(f->peers);
}

/* Only notes the node: whether the database may be asked more during this call is not promised. */
static void add_problem(void *ctx, const struct node_info *n, const char *path)
{
	struct facts *f = ctx;
	const char *dot = strrchr(path, '.');
	bool json = dot && strcasecmp(dot, ".json") == 0;
	bool not_json = n->raw && json;

	f->not_json_count += not_json ? 1 : 0;
	f->conflict_count += n->conflicts ? 1 : 0;
	if (f->problem_count == PROBLEMS_LISTED_MAX)
		return;
	f->problems = xreallocarray(f->problems, f->problem_count + 1, sizeof(*f->problems));
	f->problems[f->problem_count++] = (struct problem){
		.path = xstrdup(path),
		.conflicts = n->conflicts,
		.not_json = not_json,
		.large_json = n->chunked && json,
		.node = n->id,
	};
}

static void add_large(void *ctx, const char *path)
{
	struct facts *f = ctx;

	f->large_count++;
	if (f->problem_count == PROBLEMS_LISTED_MAX)
		return;
	f->problems = xreallocarray(f->problems, f->problem_count + 1, sizeof(*f->problems));
	f->problems[f->problem_count++] = (struct problem){.path = xstrdup(path), .large = true};
}

static int problem_cmp(const void *a, const void *b)
{
	return strcmp(((const struct problem *)a)->path, ((const struct problem *)b)->path);
}

/* Where exactly a record stops being JSON; the record may have been repaired meanwhile. */
static void locate_problem(struct db *db, struct problem *p)
{
	AUTO(buf_fini) struct buf content = {0};
	struct txn *t = db_begin(db);
	int r = db_read(t, &p->node, &content);

	db_abort(t);
	p->error = (struct json_error){.line = 0};
	if (r < 0)
		return;
	/* Text that ends too early ends after its last word, not on the empty line below. */
	while (content.len && strchr(" \t\r\n", content.data[content.len - 1]))
		content.len--;
	struct json scanned;
	if (json_scan(buf_slice(&content), &scanned, &p->error) == 0)
		p->error.line = 0;
	json_fini(&scanned);
}

static void gather_peers(const struct report_source *src, struct facts *f)
{
	struct device *devices = NULL;
	size_t n = db_peers(src->db, &devices);

	f->peers = xcalloc(n, sizeof(*f->peers));
	f->peer_count = n;
	for (size_t i = 0; i < n; i++) {
		struct peer *p = &f->peers[i];

		if (!src->status || !status_get(src->status, devices[i].actor, &p->s))
			p->s = (struct peer_status){.state = PEER_OFFLINE, .rtt_us = -1};
		p->s.actor = devices[i].actor;
		(void)snprintf(p->s.name, sizeof(p->s.name), "%s", devices[i].name);
		device_label(&devices[i], p->s.label);
		p->behind = db_peer_behind(src->db, devices[i].actor);
		/* net may not have heard of the latest change yet. */
		if (p->s.state == PEER_SYNCED && p->behind > 0)
			p->s.state = PEER_SYNCING;
	}
	free(devices);
}

static void gather(const struct report_source *src, struct facts *f)
{
	struct timespec now;

	*f = (struct facts){.held = src->held_count};
	(void)clock_gettime(CLOCK_REALTIME, &now);
	f->now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	db_get_stats(src->db, &f->stats);
	db_get_missing(src->db, &f->missing);
	gather_peers(src, f);
	f->acked = db_is_acked(src->db);
	f->removed = db_is_removed(src->db);
	if (f->stats.peer_count > 0) {
		f->unsent = f->stats.pending_count + f->held;
		/* A change made since the count was taken. */
		if (!f->acked && f->stats.pending_count == 0)
			f->unsent++;
	}
	db_problems(src->db, add_problem, f);
	if (src->too_large)
		src->too_large(src->files, add_large, f);
	for (size_t i = 0; i < f->problem_count; i++) {
		if (f->problems[i].not_json)
			locate_problem(src->db, &f->problems[i]);
	}
	if (f->problem_count)
		qsort(f->problems, f->problem_count, sizeof(*f->problems), problem_cmp);
}

/* ---- the state ------------------------------------------------------------------------------ */

enum state {
	STATE_ALONE, /* no peers yet */
	STATE_SYNCED,
	STATE_RECEIVING, /* ours is all there, theirs is coming */
	STATE_SYNCING,
	STATE_OFFLINE
};

static bool is_connected(const struct peer *p)
{
	return p->s.state == PEER_SYNCING || p->s.state == PEER_SYNCED;
}

/* What is held back is on no other device, whatever the counts of acknowledgements say. */
static bool lacks_changes(const struct facts *f, const struct peer *p)
{
	return p->behind > 0 || f->held > 0;
}

static enum state state_of(const struct facts *f)
{
	bool receiving = f->missing.file_count > 0;
	bool sending = false;

	if (f->removed)
		return STATE_OFFLINE;
	if (f->stats.peer_count == 0)
		return STATE_ALONE;
	for (size_t i = 0; i < f->peer_count; i++) {
		const struct peer *p = &f->peers[i];

		receiving |= p->s.state == PEER_SYNCING;
		sending |= is_connected(p) && (lacks_changes(f, p) || p->s.state == PEER_SYNCING);
	}
	if (f->acked && f->held == 0)
		return receiving ? STATE_RECEIVING : STATE_SYNCED;
	return sending ? STATE_SYNCING : STATE_OFFLINE;
}

static const char *state_word(enum state s)
{
	switch (s) {
	case STATE_SYNCED:
		return "synced";
	case STATE_RECEIVING:
	case STATE_SYNCING:
		return "syncing";
	case STATE_ALONE:
	case STATE_OFFLINE:
		return "offline";
	}
	return "error";
}

/* ---- words ---------------------------------------------------------------------------------- */

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

static void put_size(struct buf *out, uint64_t bytes)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
	double v = (double)bytes;
	size_t u = 0;

	while (v >= 999.5 && u + 1 < countof(units)) {
		v /= 1000;
		u++;
	}
	buf_printf(out, u > 0 && v < 9.95 ? "%.1f %s" : "%.0f %s", v, units[u]);
}

static void put_ago(struct buf *out, uint64_t now_ms, uint64_t then_ms)
{
	uint64_t s = now_ms > then_ms ? (now_ms - then_ms) / 1000 : 0;

	if (then_ms == 0)
		buf_printf(out, "never");
	else if (s < 5)
		buf_printf(out, "now");
	else if (s < 60)
		buf_printf(out, "%" PRIu64 " s ago", s);
	else if (s < 3600)
		buf_printf(out, "%" PRIu64 " min ago", s / 60);
	else if (s < 86400)
		buf_printf(out, "%" PRIu64 " h ago", s / 3600);
	else
		buf_printf(out, "%" PRIu64 " day%s ago", s / 86400, plural(s / 86400));
}

static void put_rfc3339(struct buf *out, uint64_t ms)
{
	time_t s = (time_t)(ms / 1000);
	struct tm tm;
	char text[32];

	(void)gmtime_r(&s, &tm);
	(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	buf_printf(out, "%s.%03uZ", text, (unsigned)(ms % 1000));
}

/* Characters as a terminal counts them, wide ones aside. */
static size_t text_width(const char *s, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += ((uint8_t)s[i] & 0xc0) != 0x80 ? 1 : 0;
	return n;
}

/* "ana-desk", "ana-desk and phone", "3 other devices": those for which pick says yes. */
static void put_names(struct buf *out, const struct facts *f,
		      bool (*pick)(const struct facts *f, const struct peer *p))
{
	size_t n = 0;
	size_t at = 0;

	for (size_t i = 0; i < f->peer_count; i++)
		n += pick(f, &f->peers[i]) ? 1 : 0;
	if (n > 2 || n == 0) {
		buf_printf(out, "%zu other devices", n ? n : f->peer_count);
		return;
	}
	for (size_t i = 0; i < f->peer_count; i++) {
		if (pick(f, &f->peers[i]))
			buf_printf(out, "%s%s", at++ ? " and " : "", f->peers[i].s.name);
	}
}

static bool pick_syncing(const struct facts *f, const struct peer *p)
{
	(void)f;
	return p->s.state == PEER_SYNCING;
}

static bool none_has_them(const struct facts *f)
{
	for (size_t i = 0; i < f->peer_count; i++) {
		if (f->peers[i].behind + f->held < f->unsent)
			return false;
	}
	return true;
}

static void put_syncing(const struct facts *f, struct buf *out)
{
	buf_printf(out, "syncing — %" PRIu64 " change%s", f->unsent, plural(f->unsent));
	if (f->stats.pending_bytes) {
		buf_printf(out, " (");
		put_size(out, f->stats.pending_bytes);
		buf_printf(out, ")");
	}
	buf_printf(out, " not yet on ");
	if (none_has_them(f))
		buf_printf(out, "any other device");
	else
		put_names(out, f, lacks_changes);
}

static void put_receiving(const struct facts *f, struct buf *out)
{
	const struct db_missing *m = &f->missing;
	bool from = false;

	for (size_t i = 0; i < f->peer_count; i++)
		from = from || pick_syncing(f, &f->peers[i]);
	if (m->file_count == 0) {
		buf_printf(out, "syncing — receiving changes from ");
	} else {
		buf_printf(out, "syncing — %" PRIu64 " file%s (", m->file_count,
			   plural(m->file_count));
		put_size(out, m->byte_count);
		buf_printf(out, ") still to arrive%s", from ? " from " : "");
	}
	if (from || m->file_count == 0)
		put_names(out, f, pick_syncing);
}

static void put_sentence(const struct facts *f, struct buf *out)
{
	uint64_t peers = f->stats.peer_count;

	if (f->removed) {
		buf_printf(out, "offline — another device has removed this one: what is written here "
				"stays here");
		return;
	}
	switch (state_of(f)) {
	case STATE_ALONE:
		buf_printf(out, "this device only, no peers yet");
		return;
	case STATE_SYNCED:
		if (f->stats.change_count == 0)
			buf_printf(out, "synced — no changes were made on this device yet");
		else if (f->stats.change_count == 1)
			buf_printf(out, "synced — the only change is on %" PRIu64 " other device%s",
				   peers, plural(peers));
		else
			buf_printf(out,
				   "synced — all %" PRIu64 " changes are on %" PRIu64
				   " other device%s",
				   f->stats.change_count, peers, plural(peers));
		return;
	case STATE_RECEIVING:
		put_receiving(f, out);
		return;
	case STATE_SYNCING:
		put_syncing(f, out);
		return;
	case STATE_OFFLINE:
		buf_printf(out, "offline — %" PRIu64 " change%s wait%s for ", f->unsent,
			   plural(f->unsent), f->unsent == 1 ? "s" : "");
		put_names(out, f, lacks_changes);
		return;
	}
}

static void put_verdict(const struct report_source *src, const struct facts *f, struct buf *out)
{
	/* Where the sentence has no dash of its own, one sets the problems apart from it. */
	const char *joint = state_of(f) == STATE_ALONE ? " — " : ", ";

	buf_printf(out, "%s  ", db_name(src->db));
	if (f->not_json_count)
		buf_printf(out, "%" PRIu64 " problem%s", f->not_json_count,
			   plural(f->not_json_count));
	if (f->conflict_count)
		buf_printf(out, "%s%" PRIu64 " to review", f->not_json_count ? ", " : "",
			   f->conflict_count);
	if (f->not_json_count || f->conflict_count)
		buf_printf(out, "%s", joint);
	put_sentence(f, out);
}

/* ---- text ----------------------------------------------------------------------------------- */

/* What is wrong, without the path. */
static void put_problem(const struct problem *p, struct buf *out)
{
	if (p->large)
		buf_printf(out, "larger than 1 TiB: stays on this device until it is smaller");
	if (p->not_json && p->error.line)
		json_say(&p->error, out);
	else if (p->not_json)
		buf_printf(out, "not valid JSON: kept as text, not merged by field");
	else if (p->large_json && !p->large)
		json_say_large(out);
	if (p->conflicts)
		buf_printf(out, "%s%u value%s of other devices to review",
			   p->not_json || p->large_json ? "; " : "", p->conflicts,
			   plural(p->conflicts));
}

static void put_problems(const struct facts *f, struct buf *out)
{
	size_t width = 0;

	for (size_t i = 0; i < f->problem_count; i++) {
		size_t w = text_width(f->problems[i].path, strlen(f->problems[i].path));

		width = w > width && w <= 40 ? w : width;
	}
	for (size_t i = 0; i < f->problem_count; i++) {
		const char *path = f->problems[i].path;
		size_t w = text_width(path, strlen(path));

		buf_printf(out, "  %s%*s  ", path, w < width ? (int)(width - w) : 0, "");
		put_problem(&f->problems[i], out);
		buf_printf(out, "\n");
	}
	if (f->problem_count == PROBLEMS_LISTED_MAX)
		buf_printf(out, "  … and any further ones\n");
	uint64_t damaged = f->missing.damaged_count;
	if (damaged)
		buf_printf(out,
			   "  %" PRIu64
			   " chunk%s of large files %s damaged on this disk, and fetched "
			   "again from a device that has %s\n",
			   damaged, plural(damaged), damaged == 1 ? "is" : "are",
			   damaged == 1 ? "it" : "them");
}

static void count_hold(void *ctx, const struct hold *h)
{
	(void)h;
	++*(size_t *)ctx;
}

static void put_hold(void *ctx, const struct hold *h)
{
	AUTO(free_ptr) char *author = log_quote(h->author, strlen(h->author));
	AUTO(free_ptr) char *path = log_quote(h->path, strlen(h->path));

	buf_printf(ctx,
		   "  %s deleted %" PRIu64 " of %" PRIu64 " records in %s/: they are still here. "
		   "Next:  blaze deletes\n",
		   author, h->count, h->all, path);
}

static void put_json_hold(void *ctx, const struct hold *h)
{
	buf_printf(ctx, "{\"path\":\"");
	buf_json_string(ctx, SLICE_STR(h->path));
	buf_printf(ctx, "\",\"device\":\"");
	buf_json_string(ctx, SLICE_STR(h->author));
	buf_printf(ctx, "\",\"held\":%" PRIu64 ",\"of\":%" PRIu64 "},", h->count, h->all);
}

enum column {
	COL_PEER,
	COL_STATE,
	COL_PATH,
	COL_RTT,
	COL_BEHIND,
	COL_SEEN,
	COL_UP,
	COL_DOWN,
	COL_COUNT
};

/* One row of the table: the cells one after the other in text, cell i ending at end[i]. */
struct row {
	struct buf text;
	size_t end[COL_COUNT];
};

static void end_cell(struct row *r, enum column c)
{
	r->end[c] = r->text.len;
}

static void fill_heading(struct row *r)
{
	static const char *const names[COL_COUNT] = {"PEER",   "STATE",	    "PATH", "RTT",
						     "BEHIND", "LAST SEEN", "UP",   "DOWN"};

	for (size_t c = 0; c < COL_COUNT; c++) {
		buf_printf(&r->text, "%s", names[c]);
		end_cell(r, (enum column)c);
	}
}

static const char *path_name(const struct peer *p)
{
	if (is_connected(p))
		return peer_path_name(p->s.path);
	return p->s.in_folder ? peer_path_name(PATH_FOLDER) : "-";
}

static void fill_row(const struct facts *f, const struct peer *p, struct row *r)
{
	const struct peer_status *s = &p->s;
	struct buf *t = &r->text;

	buf_printf(t, "%s", s->name);
	end_cell(r, COL_PEER);
	buf_printf(t, "%s", peer_state_name(s->state));
	end_cell(r, COL_STATE);
	buf_printf(t, "%s", path_name(p));
	end_cell(r, COL_PATH);
	if (!is_connected(p) || s->rtt_us < 0)
		buf_printf(t, "-");
	else
		buf_printf(t, s->rtt_us < 9950 ? "%.1f ms" : "%.0f ms", (double)s->rtt_us / 1000);
	end_cell(r, COL_RTT);
	buf_printf(t, "%" PRIu64, p->behind);
	end_cell(r, COL_BEHIND);
	put_ago(t, f->now_ms, is_connected(p) ? f->now_ms : s->last_seen_ms);
	end_cell(r, COL_SEEN);
	put_size(t, s->up_bytes);
	end_cell(r, COL_UP);
	put_size(t, s->down_bytes);
	end_cell(r, COL_DOWN);
}

static size_t cell_start(const struct row *r, size_t c)
{
	return c ? r->end[c - 1] : 0;
}

static void put_table(const struct facts *f, struct buf *out)
{
	struct row *rows = xcalloc(f->peer_count + 1, sizeof(*rows));
	size_t width[COL_COUNT] = {0};

	fill_heading(&rows[0]);
	for (size_t i = 0; i < f->peer_count; i++)
		fill_row(f, &f->peers[i], &rows[i + 1]);
	for (size_t i = 0; i <= f->peer_count; i++) {
		for (size_t c = 0; c < COL_COUNT; c++) {
			size_t at = cell_start(&rows[i], c);
			size_t w = text_width((const char *)rows[i].text.data + at,
					      rows[i].end[c] - at);

			width[c] = w > width[c] ? w : width[c];
		}
	}
	for (size_t i = 0; i <= f->peer_count; i++) {
		for (size_t c = 0; c < COL_COUNT; c++) {
			size_t at = cell_start(&rows[i], c);
			const char *cell = (const char *)rows[i].text.data + at;
			size_t len = rows[i].end[c] - at;

			buf_append(out, cell, len);
			if (c + 1 < COL_COUNT)
				buf_printf(out, "%*s", (int)(width[c] - text_width(cell, len) + 2),
					   "");
		}
		buf_printf(out, "\n");
		buf_fini(&rows[i].text);
	}
	free(rows);
}

/* Why a peer cannot be reached, where net knows it. */
static void put_health(const struct facts *f, struct buf *out)
{
	for (size_t i = 0; i < f->peer_count; i++) {
		const struct peer_status *s = &f->peers[i].s;

		if (is_connected(&f->peers[i]) || !s->last_error[0])
			continue;
		AUTO(free_ptr) char *error = log_quote(s->last_error, strlen(s->last_error));
		buf_printf(out, "  %s  not reachable: %s\n", s->name, error);
	}
}

const char *report_state(const struct report_source *src)
{
	AUTO(facts_fini) struct facts f;

	gather(src, &f);
	return state_word(state_of(&f));
}

void report_verdict(const struct report_source *src, struct buf *out)
{
	AUTO(facts_fini) struct facts f;

	gather(src, &f);
	put_verdict(src, &f, out);
}

/* A directory may have any name, and a line stays one line. */
static void put_line(struct buf *out, const char *text)
{
	for (; *text; text++) {
		bool control = (unsigned char)*text < 0x20 || *text == 0x7f;

		buf_printf(out, control ? "\\x%02x" : "%c", (unsigned char)*text);
	}
}

void report_text(const struct report_source *src, struct buf *out)
{
	AUTO(facts_fini) struct facts f;
	size_t start = out->len;

	gather(src, &f);
	put_verdict(src, &f, out);
	if (src->mountpoint && src->mountpoint[0]) {
		size_t w = text_width((const char *)out->data + start, out->len - start);

		buf_printf(out, "%*s  ", w < 62 ? (int)(62 - w) : 0, "");
		put_line(out, src->mountpoint);
	}
	buf_printf(out, "\n");
	put_problems(&f, out);
	hold_list(src->db, put_hold, out);
	adopt_report(src->db, out);
	if (f.peer_count) {
		put_table(&f, out);
		put_health(&f, out);
		report_rate_text(src, out);
		report_topology_cut_off(src, out);
	}
	if (f.stats.peer_count == 0)
		buf_printf(out, "Next:  blaze pair      to add another device\n");
	else if (!src->status)
		buf_printf(out, "Next:  blaze mount %s DIR      to go on syncing\n",
			   db_name(src->db));
}

int report_attention(const struct report_source *src)
{
	AUTO(facts_fini) struct facts f;
	size_t holds = 0;

	gather(src, &f);
	hold_list(src->db, count_hold, &holds);
	return holds || adopt_count(src->db) || f.missing.damaged_count || f.large_count ||
			       f.not_json_count || f.conflict_count || f.stats.conflict_count ||
			       f.unsent || f.removed
		       ? 3
		       : 0;
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static void put_json_text(struct buf *out, const char *key, const char *value)
{
	buf_printf(out, "\"%s\":\"", key);
	buf_json_string(out, SLICE_STR(value));
	buf_printf(out, "\",");
}

static void put_json_number(struct buf *out, const char *key, uint64_t value)
{
	buf_printf(out, "\"%s\":%" PRIu64 ",", key, value);
}

/* Replaces the comma every member ends with by what closes the object or list. */
static void close_json(struct buf *out, char bracket)
{
	assert(out->len);
	if (out->data[out->len - 1] == ',')
		out->len--;
	buf_u8(out, (uint8_t)bracket);
}

static void put_json_peer(struct buf *out, const struct peer *p)
{
	const struct peer_status *s = &p->s;

	buf_printf(out, "{");
	put_json_text(out, "name", s->name);
	put_json_text(out, "label", s->label);
	put_json_text(out, "state", peer_state_name(s->state));
	if (is_connected(p) || s->in_folder)
		put_json_text(out, "path", path_name(p));
	else
		buf_printf(out, "\"path\":null,");
	put_json_text(out, "endpoint", s->endpoint);
	if (s->rtt_us < 0)
		buf_printf(out, "\"rtt_ms\":null,");
	else
		buf_printf(out, "\"rtt_ms\":%.3f,", (double)s->rtt_us / 1000);
	put_json_number(out, "behind", p->behind);
	if (s->last_seen_ms) {
		buf_printf(out, "\"last_seen\":\"");
		put_rfc3339(out, s->last_seen_ms);
		buf_printf(out, "\",");
	} else {
		buf_printf(out, "\"last_seen\":null,");
	}
	put_json_number(out, "up_bytes", s->up_bytes);
	put_json_number(out, "down_bytes", s->down_bytes);
	buf_printf(out, "\"clock_skew_ms\":%" PRId64 ",", s->clock_skew_ms);
	put_json_text(out, "last_error", s->last_error);
	close_json(out, '}');
}

static void put_json_problem(struct buf *out, const struct problem *p)
{
	AUTO(buf_fini) struct buf text = {0};

	put_problem(p, &text);
	buf_printf(out, "{");
	put_json_text(out, "path", p->path);
	put_json_text(out, "problem", buf_str(&text));
	if (p->not_json && p->error.line) {
		put_json_number(out, "line", p->error.line);
		put_json_number(out, "column", p->error.column);
	}
	put_json_number(out, "conflicts", p->conflicts);
	close_json(out, '}');
}

void report_json(const struct report_source *src, struct buf *out)
{
	AUTO(buf_fini) struct buf verdict = {0};
	AUTO(facts_fini) struct facts f;

	gather(src, &f);
	put_verdict(src, &f, &verdict);
	buf_printf(out, "{\"v\":1,");
	put_json_text(out, "database", db_name(src->db));
	put_json_text(out, "state", state_word(state_of(&f)));
	put_json_text(out, "verdict", buf_str(&verdict));
	put_json_text(out, "mountpoint", src->mountpoint ? src->mountpoint : "");
	buf_printf(out, "\"deletions\":[");
	hold_list(src->db, put_json_hold, out);
	close_json(out, ']');
	buf_printf(out, ",");
	adopt_report_json(src->db, out);
	put_json_number(out, "records", f.stats.record_count);
	put_json_number(out, "changes", f.stats.change_count);
	put_json_number(out, "pending", f.stats.pending_count);
	put_json_number(out, "pending_bytes", f.stats.pending_bytes);
	put_json_number(out, "held", f.held);
	put_json_number(out, "conflicts", f.conflict_count);
	put_json_number(out, "held_back", f.stats.held_back_count);
	buf_printf(out, "\"arriving\":{");
	put_json_number(out, "files", f.missing.file_count);
	put_json_number(out, "bytes", f.missing.byte_count);
	put_json_number(out, "forged", f.missing.bad_count);
	put_json_number(out, "damaged", f.missing.damaged_count);
	close_json(out, '}');
	report_rate_json(src, out);
	buf_printf(out, ",\"peers\":[");
	for (size_t i = 0; i < f.peer_count; i++) {
		put_json_peer(out, &f.peers[i]);
		buf_printf(out, ",");
	}
	close_json(out, ']');
	buf_printf(out, ",");
	report_topology_cut_off_json(src, out);
	buf_printf(out, "\"problems\":[");
	for (size_t i = 0; i < f.problem_count; i++) {
		put_json_problem(out, &f.problems[i]);
		buf_printf(out, ",");
	}
	close_json(out, ']');
	buf_printf(out, "}");
}
