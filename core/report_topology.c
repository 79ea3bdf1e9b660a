/* Who talks to whom: the pattern, and what this device has of it. */
#include "core/report_topology.h"

#include "core/contact.h"
#include "core/json.h"
#include "core/topology.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct link {
	struct device device;
	struct peer_status s;
	bool connected;
	bool dialled; /* the pattern has us talk to it directly */
};

struct view {
	struct topology topology;
	struct device own;
	char centre[DEVICE_NAME_BYTES_MAX + 1];
	char listen[ENDPOINT_BYTES_MAX + 1];
	struct link *links;
	size_t count;
	struct relay_status *relays;
	size_t relay_count;
};

static void view_fini(struct view *v)
{
	free(v->links);
	free(v->relays);
}

static void gather(const struct report_source *src, struct view *v)
{
	AUTO(free_ptr) struct device *peers = NULL;
	struct device centre;

	*v = (struct view){0};
	topology_read(src->db, &v->topology);
	if (db_member(src->db, db_actor(src->db), &v->own) < 0)
		(void)snprintf(v->own.name, sizeof(v->own.name), "this device");
	if (v->topology.pattern == TOPOLOGY_STAR &&
	    db_member(src->db, v->topology.centre, &centre) == 0)
		(void)snprintf(v->centre, sizeof(v->centre), "%s", centre.name);
	if (src->status)
		status_get_listen(src->status, v->listen);
	if (src->status)
		v->relay_count = status_get_relays(src->status, &v->relays);
	v->count = db_peers(src->db, &peers);
	v->links = xcalloc(v->count + 1, sizeof(*v->links));
	for (size_t i = 0; i < v->count; i++) {
		struct link *l = &v->links[i];

		l->device = peers[i];
		if (!src->status || !status_get(src->status, peers[i].actor, &l->s))
			l->s = (struct peer_status){.state = PEER_OFFLINE, .rtt_us = -1};
		l->connected = l->s.state == PEER_SYNCING || l->s.state == PEER_SYNCED;
		l->dialled = topology_dials(&v->topology, v->own.actor, peers[i].actor);
	}
}

static const char *meaning(const struct view *v)
{
	switch (v->topology.pattern) {
	case TOPOLOGY_MESH:
		return "all devices talk to each other";
	case TOPOLOGY_STAR:
		return "all devices talk to ";
	case TOPOLOGY_HUB:
		break;
	}
	return v->topology.has_relay ? "devices talk only through relays"
				     : "no relay is known here: this device talks to all";
}

/* "direct 2.1 ms" */
static void put_path(enum peer_path path, int64_t rtt_us, struct buf *out)
{
	buf_printf(out, "%s", peer_path_name(path));
	if (rtt_us >= 0)
		buf_printf(out, rtt_us < 9950 ? " %.1f ms" : " %.0f ms", (double)rtt_us / 1000);
}

static bool is_open(const struct relay_status *r)
{
	return r->state == PEER_SYNCING || r->state == PEER_SYNCED;
}

/* "relay 1.2 ms", "relay 1.2 ms, spare", or why it is not connected. */
static void put_relay_path(const struct relay_status *r, struct buf *out)
{
	if (!is_open(r)) {
		buf_printf(out, "%s", r->error[0] ? r->error : "not connected");
		return;
	}
	put_path(r->path, r->rtt_us, out);
	if (r->in_doubt)
		buf_printf(out, ", does not answer");
	else if (r->error[0])
		buf_printf(out, ", %s", r->error);
	else if (!r->used)
		buf_printf(out, ", spare");
}

/* Relays are no devices: they carry what they cannot read. */
static void put_relay_line(const struct view *v, const struct relay_status *r, struct buf *out)
{
	const char *line = is_open(r) ? "──" : "··";
	const char *blank = is_open(r) ? "" : " ";

	buf_printf(out, "  %s %s%s", v->own.name, line, blank);
	put_relay_path(r, out);
	buf_printf(out, "%s%s %s\n", blank, line, r->address);
}

static const char *why_not(const struct view *v, const struct link *l)
{
	if (l->s.in_folder)
		return peer_path_name(PATH_FOLDER);
	if (!l->dialled)
		return v->topology.pattern == TOPOLOGY_STAR ? "through the centre"
							    : "through relays";
	return l->s.last_error[0] ? l->s.last_error : "not connected";
}

void report_topology_text(const struct report_source *src, struct buf *out)
{
	AUTO(view_fini) struct view v;

	gather(src, &v);
	buf_printf(out, "pattern: %s — %s%s%s\n", topology_pattern_name(v.topology.pattern),
		   meaning(&v), v.centre,
		   v.topology.source == TOPOLOGY_HERE ? " (set on this device only)" : "");
	if (v.count == 0)
		buf_printf(out, "  %s alone: blaze pair adds another device\n", v.own.name);
	for (size_t i = 0; i < v.count; i++) {
		const struct link *l = &v.links[i];

		buf_printf(out, "  %s ", v.own.name);
		if (l->connected) {
			buf_printf(out, "──");
			put_path(l->s.path, l->s.rtt_us, out);
			buf_printf(out, "── %s\n", l->device.name);
		} else {
			buf_printf(out, "·· %s ·· %s\n", why_not(&v, l), l->device.name);
		}
	}
	for (size_t i = 0; i < v.relay_count; i++)
		put_relay_line(&v, &v.relays[i], out);
}

static bool has_a_way(const struct view *v)
{
	bool way = v->count == 0;

	for (size_t i = 0; i < v->count; i++)
		way = way || v->links[i].connected || v->links[i].s.in_folder;
	for (size_t i = 0; i < v->relay_count; i++)
		way = way || (is_open(&v->relays[i]) && !v->relays[i].in_doubt);
	return way;
}

static bool put_cut_off(const struct report_source *src, struct buf *out)
{
	AUTO(view_fini) struct view v;

	gather(src, &v);
	bool hub = v.topology.pattern == TOPOLOGY_HUB && v.topology.has_relay;
	bool leaf = v.topology.pattern == TOPOLOGY_STAR && v.topology.centre != v.own.actor;
	if (!src->status || !(hub || leaf) || has_a_way(&v))
		return false;
	if (hub)
		buf_printf(out, "in a hub devices talk only through relays, and none answers now");
	else
		buf_printf(out, "in this star devices talk only to %s, which does not answer now",
			   v.centre[0] ? v.centre : "a device that is gone");
	buf_printf(out, ": nothing comes or goes until then");
	return true;
}

void report_topology_cut_off(const struct report_source *src, struct buf *out)
{
	AUTO(buf_fini) struct buf why = {0};

	if (put_cut_off(src, &why))
		buf_printf(out, "  %s. Next:  blaze topology set mesh\n", buf_str(&why));
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static void put_text(struct buf *out, const char *key, const char *value)
{
	buf_printf(out, "\"%s\":\"", key);
	buf_json_string(out, SLICE_STR(value));
	buf_printf(out, "\",");
}

static void put_addresses(const struct report_source *src, uint64_t actor, struct buf *out)
{
	struct contact *c = xcalloc(1, sizeof(*c));

	if (contact_get(src->db, actor, c) < 0)
		c->count = 0;
	buf_printf(out, "\"addresses\":[");
	for (size_t i = 0; i < c->count; i++) {
		buf_printf(out, "%s\"", i ? "," : "");
		buf_json_string(out, SLICE_STR(c->addresses[i]));
		buf_printf(out, "\"");
	}
	buf_printf(out, "]");
	free(c);
}

static void put_device(const struct report_source *src, const struct device *d, struct buf *out)
{
	char label[DEVICE_LABEL_BYTES];

	device_label(d, label);
	put_text(out, "name", d->name);
	put_text(out, "label", label);
	put_addresses(src, d->actor, out);
}

static void put_link(const struct report_source *src, const struct link *l, struct buf *out)
{
	buf_printf(out, "{");
	put_device(src, &l->device, out);
	buf_printf(out, ",\"connected\":%s,\"dialled\":%s,", l->connected ? "true" : "false",
		   l->dialled ? "true" : "false");
	if (l->connected || l->s.in_folder)
		put_text(out, "path", peer_path_name(l->connected ? l->s.path : PATH_FOLDER));
	else
		buf_printf(out, "\"path\":null,");
	put_text(out, "endpoint", l->s.endpoint);
	put_text(out, "last_error", l->connected ? "" : l->s.last_error);
	if (l->connected && l->s.rtt_us >= 0)
		buf_printf(out, "\"rtt_ms\":%.3f}", (double)l->s.rtt_us / 1000);
	else
		buf_printf(out, "\"rtt_ms\":null}");
}

static void put_relay(const struct relay_status *r, struct buf *out)
{
	buf_printf(out, "{");
	put_text(out, "address", r->address);
	put_text(out, "path", peer_path_name(r->path));
	put_text(out, "state", peer_state_name(r->state));
	buf_printf(out, "\"used\":%s,\"in_doubt\":%s,", r->used ? "true" : "false",
		   r->in_doubt ? "true" : "false");
	put_text(out, "last_error", r->error);
	put_text(out, "alarm", r->alarm);
	if (is_open(r) && r->rtt_us >= 0)
		buf_printf(out, "\"rtt_ms\":%.3f}", (double)r->rtt_us / 1000);
	else
		buf_printf(out, "\"rtt_ms\":null}");
}

void report_topology_cut_off_json(const struct report_source *src, struct buf *out)
{
	AUTO(buf_fini) struct buf why = {0};

	(void)put_cut_off(src, &why);
	put_text(out, "cut_off", buf_str(&why));
}

void report_topology_json(const struct report_source *src, struct buf *out)
{
	static const char *const sources[] = {
		[TOPOLOGY_DEFAULT] = "default",
		[TOPOLOGY_SHARED] = "shared",
		[TOPOLOGY_HERE] = "here",
	};
	AUTO(view_fini) struct view v;

	gather(src, &v);
	buf_printf(out, "{\"v\":1,");
	put_text(out, "pattern", topology_pattern_name(v.topology.pattern));
	put_text(out, "source", sources[v.topology.source]);
	if (v.topology.pattern == TOPOLOGY_STAR)
		put_text(out, "centre", v.centre);
	else
		buf_printf(out, "\"centre\":null,");
	put_text(out, "listen", v.listen);
	buf_printf(out, "\"device\":{");
	put_device(src, &v.own, out);
	buf_printf(out, "},\"links\":[");
	for (size_t i = 0; i < v.count; i++) {
		buf_printf(out, "%s", i ? "," : "");
		put_link(src, &v.links[i], out);
	}
	buf_printf(out, "],\"relays\":[");
	for (size_t i = 0; i < v.relay_count; i++) {
		buf_printf(out, "%s", i ? "," : "");
		put_relay(&v.relays[i], out);
	}
	buf_printf(out, "]}");
}

/* ---- dot ------------------------------------------------------------------------------------ */

/* By its label, which no other device has; shown by its name. Names have no control characters. */
static void put_quoted(struct buf *out, const char *text)
{
	buf_u8(out, '"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			buf_u8(out, '\\');
		buf_u8(out, (uint8_t)*text);
	}
	buf_u8(out, '"');
}

static void put_node(const struct device *d, const char *shape, struct buf *out)
{
	char label[DEVICE_LABEL_BYTES];

	device_label(d, label);
	buf_printf(out, "\t");
	put_quoted(out, label);
	buf_printf(out, " [shape=%s, label=", shape);
	put_quoted(out, d->name);
	buf_printf(out, "];\n");
}

static void put_edge(const char *from, const char *to, bool solid, struct slice label,
		     struct buf *out)
{
	AUTO(buf_fini) struct buf text = {0};

	buf_slice_append(&text, label);
	buf_printf(out, "\t");
	put_quoted(out, from);
	buf_printf(out, " -- ");
	put_quoted(out, to);
	buf_printf(out, " [style=%s, label=", solid ? "solid" : "dashed");
	put_quoted(out, buf_str(&text));
	buf_printf(out, "];\n");
}

static void put_relay_node(const char *own, const struct relay_status *r, struct buf *out)
{
	AUTO(buf_fini) struct buf text = {0};

	put_relay_path(r, &text);
	buf_printf(out, "\t");
	put_quoted(out, r->address);
	buf_printf(out, " [shape=%s];\n", r->path == PATH_FOLDER ? "folder" : "diamond");
	put_edge(own, r->address, is_open(r), buf_slice(&text), out);
}

void report_topology_dot(const struct report_source *src, struct buf *out)
{
	AUTO(view_fini) struct view v;
	char own[DEVICE_LABEL_BYTES];

	gather(src, &v);
	device_label(&v.own, own);
	buf_printf(out, "graph blaze {\n");
	put_node(&v.own, "box", out);
	for (size_t i = 0; i < v.count; i++) {
		const struct link *l = &v.links[i];
		AUTO(buf_fini) struct buf text = {0};
		char label[DEVICE_LABEL_BYTES];

		device_label(&l->device, label);
		put_node(&l->device, "ellipse", out);
		if (l->connected)
			put_path(l->s.path, l->s.rtt_us, &text);
		else
			buf_printf(&text, "%s", why_not(&v, l));
		put_edge(own, label, l->connected, buf_slice(&text), out);
	}
	for (size_t i = 0; i < v.relay_count; i++)
		put_relay_node(own, &v.relays[i], out);
	buf_printf(out, "}\n");
}
