/* Devices, as people name them. */
#include "cli/peer.h"

#include "cli/command.h"
#include "cli/show.h"

#include <stdlib.h>
#include <string.h>

static bool is_named(const struct device *d, const char *name, bool *ret_exactly)
{
	char label[DEVICE_LABEL_BYTES];

	device_label(d, label);
	*ret_exactly = strcmp(label, name) == 0;
	return *ret_exactly || strcmp(d->name, name) == 0;
}

int peer_find(struct service *s, const char *command, const char *name, bool own,
	      struct device *ret, struct out *out)
{
	AUTO(free_ptr) struct device *peers = NULL;
	AUTO(free_ptr) char *shown = show_text(name);
	size_t n = db_peers(s->db, &peers);
	size_t found = 0;

	*ret = (struct device){0};
	peers = xreallocarray(peers, n + 1, sizeof(*peers));
	peers[n] = *keys_device(s->keys);
	for (size_t i = 0; i < n + (own ? 1 : 0); i++) {
		bool exactly = false;

		if (!is_named(&peers[i], name, &exactly))
			continue;
		*ret = peers[i];
		found++;
		if (exactly)
			return CODE_OK;
	}
	if (found == 1)
		return CODE_OK;
	if (found > 1)
		return out_error(
			out, CODE_USAGE,
			"%s: %zu devices are called %s: use the label that blaze status --json shows",
			command, found, shown);
	return out_error(out, CODE_FAILED, "%s: no device %s here: see blaze status", command,
			 shown);
}

/* By label, or by a name that only one member has. */
int peer_find_member(struct service *s, const char *text, struct member_info *ret, struct out *out)
{
	AUTO(free_ptr) struct member_info *list = NULL;
	AUTO(free_ptr) char *shown = show_text(text);
	size_t n = db_members(s->db, &list);
	size_t found = 0;

	for (size_t pass = 0; pass < 2 && found == 0; pass++) {
		for (size_t i = 0; i < n; i++) {
			char label[DEVICE_LABEL_BYTES];

			device_label(&list[i].device, label);
			/* Those that are members go before those that were. */
			bool named = strcmp(list[i].device.name, text) == 0 &&
				     list[i].removed == (pass > 0);
			bool exact = strcmp(label, text) == 0;
			if (!named && !exact)
				continue;
			*ret = list[i];
			if (exact)
				return CODE_OK;
			found++;
		}
	}
	if (found > 1)
		return out_error(out, CODE_USAGE,
				 "devices: %zu devices are called %s: use a label of blaze devices",
				 found, shown);
	if (found == 0)
		return out_error(out, CODE_FAILED,
				 "devices: there is no member %s: see blaze devices", shown);
	return CODE_OK;
}
