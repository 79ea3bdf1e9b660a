/* Who talks to whom. */
#include "core/topology.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SETTING "topology"
#define SETTING_BYTES 40

/* "mesh", "hub", "star:0123456789abcdef". false: of a later version, or nonsense. */
static bool parse(const char *text, struct topology *ret)
{
	static const char star[] = "star:";

	*ret = (struct topology){.pattern = TOPOLOGY_MESH};
	if (strcmp(text, "mesh") == 0)
		return true;
	ret->pattern = TOPOLOGY_HUB;
	if (strcmp(text, "hub") == 0)
		return true;
	ret->pattern = TOPOLOGY_STAR;
	const char *hex = text + strlen(star);
	if (strncmp(text, star, strlen(star)) != 0 || strlen(hex) != 16 ||
	    strspn(hex, "0123456789abcdef") != 16)
		return false;
	ret->centre = strtoull(hex, NULL, 16);
	return ret->centre != 0;
}

static void format(const struct topology *t, char out[SETTING_BYTES])
{
	if (t->pattern == TOPOLOGY_STAR)
		(void)snprintf(out, SETTING_BYTES, "star:%016" PRIx64, t->centre);
	else
		(void)snprintf(out, SETTING_BYTES, "%s", topology_pattern_name(t->pattern));
}

static bool has_relay(struct db *db)
{
	AUTO(free_ptr) char *relays = NULL;
	AUTO(free_ptr) char *folders = NULL;

	return (db_get_shared(db, "relays", &relays) == 0 && relays[0]) ||
	       (db_get_setting(db, TOPOLOGY_FOLDERS, &folders) == 0 && folders[0]);
}

void topology_read(struct db *db, struct topology *ret)
{
	AUTO(free_ptr) char *here = NULL;
	AUTO(free_ptr) char *shared = NULL;

	if (db_get_setting(db, SETTING, &here) == 0 && parse(here, ret))
		ret->source = TOPOLOGY_HERE;
	else if (db_get_shared(db, SETTING, &shared) == 0 && parse(shared, ret))
		ret->source = TOPOLOGY_SHARED;
	else
		*ret = (struct topology){.pattern = TOPOLOGY_MESH};
	ret->has_relay = has_relay(db);
}

int topology_set(struct db *db, const struct topology *t, bool here)
{
	char text[SETTING_BYTES] = "";

	assert(t || here);
	if (t)
		format(t, text);
	return here ? db_set_setting(db, SETTING, text) : db_set_shared(db, SETTING, text);
}

bool topology_dials(const struct topology *t, uint64_t own, uint64_t other)
{
	switch (t->pattern) {
	case TOPOLOGY_MESH:
		return true;
	case TOPOLOGY_STAR:
		return own == t->centre || other == t->centre;
	case TOPOLOGY_HUB:
		break;
	}
	return !t->has_relay;
}

const char *topology_pattern_name(enum topology_pattern p)
{
	static const char *const names[] = {
		[TOPOLOGY_MESH] = "mesh",
		[TOPOLOGY_STAR] = "star",
		[TOPOLOGY_HUB] = "hub",
	};

	assert((size_t)p < countof(names));
	return names[p];
}
