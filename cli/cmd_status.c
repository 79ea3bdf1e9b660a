/* blaze status: the verdict, the problems, the peers. */
#include "cli/client.h"
#include "cli/service.h"

#include <string.h>

struct status_options {
	bool json;
	bool check;
};

static const struct option_row status_rows[] = {
	{"json", 'j', OPTION_FLAG, NULL, "print one JSON object",
	 offsetof(struct status_options, json), 0},
	{"check", 'c', OPTION_FLAG, NULL, "exit with 3 if anything is unsent or wants looking at",
	 offsetof(struct status_options, check), 0},
};

static int status_serve(struct service *s, struct out *out, int argc, char **argv)
{
	struct status_options o = {0};
	AUTO(buf_fini) struct buf text = {0};
	int code = CODE_OK;

	if (!options_parse(&cmd_status.usage, &o, argc, argv, out, &code))
		return code;
	struct report_source src = service_report(s);

	if (o.json) {
		report_json(&src, &text);
		buf_printf(&text, "\n");
	} else {
		report_text(&src, &text);
	}
	out_text(out, buf_slice(&text));
	return o.check ? report_attention(&src) : CODE_OK;
}

const struct command cmd_status = {
	.usage = {.name = "status",
		  .operands = "[NAME|DIR]",
		  .operands_max = 1,
		  .summary = "Says whether everything is synced, and what is not in order.",
		  .rows = status_rows,
		  .row_count = countof(status_rows)},
	.run = client_run,
	.serve = status_serve,
	.needs = COMMAND_NEEDS_FILES,
};
