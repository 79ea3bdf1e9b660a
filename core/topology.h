/*
 * Who talks to whom directly: a setting of the whole database, which a device may override for itself.
 *
 *   mesh         all with all; the default
 *   star ACTOR   all with one of the devices, the centre
 *   hub          nobody: through the relays only. A device that knows no relay talks to all, or it would be cut off.
 *
 * It says whom a device dials; nobody is turned away for it. Every link runs the same engine, so what two devices cannot
 * tell each other a third passes on, in any pattern.
 */
#ifndef BLAZE_CORE_TOPOLOGY_H
#define BLAZE_CORE_TOPOLOGY_H

#include "core/db.h"

enum topology_pattern {
	TOPOLOGY_MESH,
	TOPOLOGY_STAR,
	TOPOLOGY_HUB
};

enum topology_source {
	TOPOLOGY_DEFAULT, /**< nobody ever said */
	TOPOLOGY_SHARED,
	TOPOLOGY_HERE, /**< this device's own */
};

/** The setting of this device that lists its folder relays (net/folders.h). */
#define TOPOLOGY_FOLDERS "folders"

struct topology {
	enum topology_pattern pattern;
	uint64_t centre; /**< star */
	bool has_relay;	 /**< this device knows one */
	enum topology_source source;
};

/** What counts on this device now. */
void topology_read(struct db *db, struct topology *ret);
/**
 * Sets it for all devices, or for this one. t NULL: this device goes with the others again. -EPERM this device may not. Who
 * dials has to be told (net_refresh()) of what is set here.
 */
int topology_set(struct db *db, const struct topology *t, bool here);
/** Whether this device dials that one. */
bool topology_dials(const struct topology *t, uint64_t own, uint64_t other);
/** "mesh", "star", "hub". */
const char *topology_pattern_name(enum topology_pattern p);

#endif
