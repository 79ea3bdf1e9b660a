/* Devices, as people name them. */
#ifndef BLAZE_CLI_PEER_H
#define BLAZE_CLI_PEER_H

#include "cli/service.h"

/**
 * Finds a device by its name, or by its label where several have that name; own: this device counts, too. 0 or an exit
 * code, the error being said in the name of `command`.
 */
int peer_find(struct service *s, const char *command, const char *name, bool own,
	      struct device *ret, struct out *out);

/** A member, or who was one, by label or name: 0, or an exit code, the error being said as of `devices`. */
int peer_find_member(struct service *s, const char *text, struct member_info *ret, struct out *out);

#endif
