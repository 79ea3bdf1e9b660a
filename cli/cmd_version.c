/* blaze version, and info: what a daemon says about itself to other commands. */
#include "cli/client.h"
#include "cli/service.h"
#include "cli/version.h"
#include "core/sync.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct version_options {
	bool json;
};

static const struct option_row version_rows[] = {
	{"json", 'j', OPTION_FLAG, NULL, "print one JSON object",
	 offsetof(struct version_options, json), 0},
};

static int version_run(const struct command *c, struct out *out, int argc, char **argv)
{
	struct version_options o = {0};
	int code = CODE_OK;

	if (!options_parse(&c->usage, &o, argc, argv, out, &code))
		return code;
	out_printf(out,
		   o.json ? "{\"v\":1,\"version\":\"%s\",\"protocol\":%d}\n"
			  : "blaze %s (protocol %d)\n",
		   BLAZE_VERSION, SYNC_VERSION);
	return CODE_OK;
}

const struct command cmd_version = {
	.usage = {.name = "version",
		  .operands = "",
		  .summary = "Prints the version of the program and of its network protocol.",
		  .rows = version_rows,
		  .row_count = countof(version_rows)},
	.run = version_run,
};

/* Three texts, each ended by NUL, as client_info() reads them. */
static int info_serve(struct service *s, struct out *out, int argc, char **argv)
{
	char listen[ENDPOINT_BYTES_MAX + 1] = "";
	AUTO(buf_fini) struct buf text = {0};

	(void)argc;
	(void)argv;
	if (s->net)
		net_endpoint(s->net, listen);
	buf_printf(&text, "%ld", (long)getpid());
	buf_u8(&text, 0);
	buf_printf(&text, "%s", s->mountpoint ? s->mountpoint : "");
	buf_u8(&text, 0);
	buf_printf(&text, "%s", listen);
	buf_u8(&text, 0);
	out_text(out, buf_slice(&text));
	return CODE_OK;
}

const struct command cmd_info = {
	.usage = {.name = "info",
		  .operands = "[NAME|DIR]",
		  .operands_max = 1,
		  .summary = "Prints process, mountpoint and address of a database's daemon."},
	.run = client_run,
	.serve = info_serve,
	.hidden = true,
};
