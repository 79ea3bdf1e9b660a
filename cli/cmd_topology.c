/* blaze topology: who talks to whom directly; shows it, and sets it. */
#include "cli/client.h"
#include "cli/peer.h"
#include "cli/service.h"
#include "cli/show.h"
#include "core/report_topology.h"
#include "core/topology.h"

#include <string.h>

struct topology_options {
	bool here;
	bool json;
};

static const struct option_row topology_rows[] = {
	{"here", 0, OPTION_FLAG, NULL,
	 "set: for this device only; \"default\" goes with the others again",
	 offsetof(struct topology_options, here), 0},
	{"json", 'j', OPTION_FLAG, NULL, "print one JSON object",
	 offsetof(struct topology_options, json), 0},
};

/* What `set` is given: a pattern, and for a star the device in the middle. */
static int parse_pattern(struct service *s, int argc, char **argv, struct topology *ret,
			 struct out *out)
{
	struct device centre;

	*ret = (struct topology){.pattern = TOPOLOGY_MESH};
	if (argc == 1 && strcmp(argv[0], "mesh") == 0)
		return CODE_OK;
	ret->pattern = TOPOLOGY_HUB;
	if (argc == 1 && strcmp(argv[0], "hub") == 0)
		return CODE_OK;
	ret->pattern = TOPOLOGY_STAR;
	if (argc != 2 || strcmp(argv[0], "star") != 0)
		return out_error(
			out, CODE_USAGE,
			"topology: set what? mesh, hub, or star DEVICE: see blaze help topology");
	int code = peer_find(s, "topology", argv[1], true, &centre, out);
	ret->centre = centre.actor;
	return code;
}

static int set(struct service *s, struct out *out, bool here, int argc, char **argv)
{
	bool reset = here && argc == 1 && strcmp(argv[0], "default") == 0;
	struct topology t;
	int code = reset ? CODE_OK : parse_pattern(s, argc, argv, &t, out);

	if (code != CODE_OK)
		return code;
	struct topology now;
	topology_read(s->db, &now);
	if (!reset && t.pattern == TOPOLOGY_HUB && !now.has_relay)
		return out_error(
			out, CODE_FAILED,
			"topology: hub needs a relay, and none is known here: all devices would "
			"lose each other");
	int r = topology_set(s->db, reset ? NULL : &t, here);
	if (r == -EPERM)
		return out_error(
			out, CODE_FAILED,
			"topology: this device may not manage the database; --here sets it for "
			"this device only");
	if (r < 0)
		return out_error(out, CODE_FAILED, "topology: %s", strerror(-r));
	if (s->net)
		net_refresh(s->net);
	return CODE_OK;
}

static int topology_serve(struct service *s, struct out *out, int argc, char **argv)
{
	struct topology_options o = {0};
	AUTO(buf_fini) struct buf text = {0};
	int code = CODE_OK;
	int first = options_parse(&cmd_topology.usage, &o, argc, argv, out, &code);

	if (!first)
		return code;
	if (first < argc)
		code = set(s, out, o.here, argc - first - 1, argv + first + 1);
	else if (o.here)
		code = out_error(out, CODE_USAGE, "topology: --here goes with set");
	if (code != CODE_OK)
		return code;
	struct report_source src = service_report(s);
	if (o.json) {
		report_topology_json(&src, &text);
		buf_printf(&text, "\n");
	} else {
		report_topology_text(&src, &text);
	}
	out_text(out, buf_slice(&text));
	return CODE_OK;
}

/* After "set PATTERN", or "set star DEVICE". */
static int database_operand(int count, char **operands)
{
	int before = 0;

	if (count > 0 && strcmp(operands[0], "set") == 0)
		before = count > 1 && strcmp(operands[1], "star") == 0 ? 3 : 2;
	return before < count ? before : count;
}

const struct command cmd_topology = {
	.usage = {.name = "topology",
		  .operands = "[set mesh|hub|star DEVICE] [NAME|DIR]",
		  .operands_max = 4,
		  .summary = "Shows who talks to whom, and sets it, for all devices.",
		  .notes = "mesh: everybody with everybody. star DEVICE: everybody with that device. hub: only "
			   "through relays.\nWhat two devices cannot tell each other, others pass on.\n",
		  .rows = topology_rows,
		  .row_count = countof(topology_rows)},
	.run = client_run,
	.serve = topology_serve,
	.path_operand = database_operand,
};
