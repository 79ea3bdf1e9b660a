/*
 * `blaze devices adopt DEVICE`: what a removed device made before it heard of that and nobody had taken (core/adopt.h) is shown, and
 * adopted if a person says so.
 */
#ifndef BLAZE_CLI_ADOPT_H
#define BLAZE_CLI_ADOPT_H

#include "cli/out.h"
#include "cli/service.h"
#include "core/db.h"

struct adopt_options {
	bool yes;     /**< adopt it without asking */
	bool discard; /**< give it up instead */
	bool json;    /**< only list it */
};

/** Returns an exit code. */
int adopt_run(struct service *s, struct out *out, const struct member_info *m,
	      const struct adopt_options *o);
/** Below the list of devices: of which there is something to adopt. */
void adopt_print_list(struct service *s, struct out *out);

#endif
