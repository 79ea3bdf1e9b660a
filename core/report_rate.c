/* Rates are what the network says of its connections; what is left is what the database says. */
#include "core/report_rate.h"

#include "core/db_chunks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEFT_UNKNOWN UINT64_MAX
/** An estimate beyond a day says nothing. */
#define LEFT_S_MAX 86400

struct flow {
	struct peer_status s;
	uint64_t behind;
};

struct flows {
	struct flow *items;
	size_t count;
	uint64_t out_bytes;   /**< what the furthest-behind of them lacks of ours, */
	uint64_t most_behind; /**< in changes */
	uint64_t in_bytes;    /**< of files, still to arrive from any of them */
	uint64_t in_rate;     /**< of all */
};

static void flows_fini(struct flows *f)
{
	free(f->items);
}

/* Of relays and folders, nobody counts what is whose. */
static bool is_under_way(const struct flow *f, bool arriving)
{
	bool connected = f->s.state == PEER_SYNCING || f->s.state == PEER_SYNCED;

	return connected && (f->s.path == PATH_DIRECT || f->s.path == PATH_LOCAL) &&
	       (f->behind > 0 || f->s.state == PEER_SYNCING || (arriving && f->s.down_rate > 0));
}

static void gather(const struct report_source *src, struct flows *ret)
{
	AUTO(free_ptr) struct device *peers = NULL;
	struct db_missing missing;
	struct db_stats stats;

	*ret = (struct flows){0};
	if (!src->status)
		return;
	db_get_missing(src->db, &missing);
	db_get_stats(src->db, &stats);
	size_t n = db_peers(src->db, &peers);
	ret->items = xcalloc(n, sizeof(*ret->items));
	ret->out_bytes = stats.pending_bytes;
	ret->in_bytes = missing.byte_count;
	for (size_t i = 0; i < n; i++) {
		struct flow *f = &ret->items[ret->count];

		f->behind = db_peer_behind(src->db, peers[i].actor);
		if (f->behind > ret->most_behind)
			ret->most_behind = f->behind;
		if (!status_get(src->status, peers[i].actor, &f->s) ||
		    !is_under_way(f, missing.file_count > 0))
			continue;
		(void)snprintf(f->s.name, sizeof(f->s.name), "%s", peers[i].name);
		device_label(&peers[i], f->s.label);
		ret->in_rate += f->s.down_rate;
		ret->count++;
	}
}

/* Seconds; what is out is packed on its way, so it takes rather less. */
static uint64_t left_of(const struct flows *all, const struct flow *f)
{
	uint64_t left = 0;

	if (f->behind) {
		double bytes = (double)all->out_bytes * (double)f->behind / (double)all->most_behind;

		if (f->s.up_rate == 0 || all->out_bytes == 0)
			return LEFT_UNKNOWN;
		left = (uint64_t)(bytes / (double)f->s.up_rate) + 1;
	}
	if (all->in_bytes) {
		if (all->in_rate == 0)
			return LEFT_UNKNOWN;
		uint64_t in = all->in_bytes / all->in_rate + 1;
		left = in > left ? in : left;
	}
	return left == 0 || left > LEFT_S_MAX ? LEFT_UNKNOWN : left;
}

static void put_rate(struct buf *out, uint64_t bytes)
{
	static const char *const units[] = {"B", "kB", "MB", "GB"};
	double v = (double)bytes;
	size_t u = 0;

	for (; v >= 999.5 && u + 1 < countof(units); u++)
		v /= 1000;
	buf_printf(out, u > 0 && v < 9.95 ? "%.1f %s/s" : "%.0f %s/s", v, units[u]);
}

static void put_left(struct buf *out, uint64_t s)
{
	if (s < 60)
		buf_printf(out, ", about %" PRIu64 " s left", s);
	else if (s < 3600)
		buf_printf(out, ", about %" PRIu64 " min left", (s + 30) / 60);
	else
		buf_printf(out, ", about %" PRIu64 " h left", (s + 1800) / 3600);
}

void report_rate_text(const struct report_source *src, struct buf *out)
{
	AUTO(flows_fini) struct flows all;

	gather(src, &all);
	for (size_t i = 0; i < all.count; i++) {
		const struct flow *f = &all.items[i];
		uint64_t left = left_of(&all, f);

		buf_printf(out, "  %s  ", f->s.name);
		put_rate(out, f->s.up_rate);
		buf_printf(out, " out, ");
		put_rate(out, f->s.down_rate);
		buf_printf(out, " in");
		if (left != LEFT_UNKNOWN)
			put_left(out, left);
		buf_printf(out, "\n");
	}
}

void report_rate_json(const struct report_source *src, struct buf *out)
{
	AUTO(flows_fini) struct flows all;

	gather(src, &all);
	buf_printf(out, ",\"rates\":[");
	for (size_t i = 0; i < all.count; i++) {
		const struct flow *f = &all.items[i];
		uint64_t left = left_of(&all, f);

		buf_printf(out, "%s{\"name\":\"", i ? "," : "");
		buf_json_string(out, SLICE_STR(f->s.name));
		buf_printf(out, "\",\"label\":\"");
		buf_json_string(out, SLICE_STR(f->s.label));
		buf_printf(out,
			   "\",\"path\":\"%s\",\"up_bytes_per_second\":%" PRIu64
			   ",\"down_bytes_per_second\":%" PRIu64 ",\"seconds_left\":",
			   peer_path_name(f->s.path), f->s.up_rate, f->s.down_rate);
		if (left == LEFT_UNKNOWN)
			buf_printf(out, "null}");
		else
			buf_printf(out, "%" PRIu64 "}", left);
	}
	buf_printf(out, "]");
}
