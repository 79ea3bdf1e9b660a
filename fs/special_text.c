/* Words of .blaze/: its README, and what devices are called there. */
#include "fs/special.h"

#include "fs/special_conflicts.h"

#include <string.h>

const char special_readme[] =
	"This directory tells how the database mounted here is doing. It exists only in the mount:\n"
	"listings of the mount do not show it, nothing in it is synced, nothing in it can be written.\n"
	"\n"
	"  status       is it synced? one sentence, then problems, then a table of the other devices\n"
	"  status.json  the same for programs, as one JSON object\n"
	"  state        the same as one word: synced, syncing, offline or error\n"
	"  topology.json, topology.dot  who talks to whom, for programs and for graphviz: dot -Tsvg\n"
	"  version      the version of blaze that serves this mount\n"
	"  peers/       one directory for every other device of this database, with one value a file:\n"
	"    state        offline, connecting, syncing or synced\n"
	"    path         how it is reached: direct, local (the same machine), relay, folder or none\n"
	"    rtt_ms       round trip in milliseconds, -1 if unknown\n"
	"    behind       changes made here that it has not got yet\n"
	"    last_seen    when it was last connected (UTC), or never\n"
	"    fingerprint  its identity, as shown by `blaze init` there\n"
	"  conflicts/   what lost when two devices changed the same thing, until a save changes it again:\n"
	"    PATH@DEVICE  the bytes that DEVICE saved; directories are as in the mount\n"
	"    PATH@fields  fields of a JSON file, one a line: field, value, device, time (UTC)\n"
	"    PATH@lines   lines that two devices changed, as each had them; the file has them merged\n"
	"  at/TIME/     everything as it was: at/14:00, at/2026-11-23, at/5min-ago, at/yesterday\n"
	"  deleted/     what was deleted, with its last content: copy or move it back, or blaze restore\n"
	"  history/     for every file a directory of its versions: NNNN-TIME-DEVICE\n"
	"\n"
	"`blaze status` prints status; `blaze wait` waits until every change made here is on the\n"
	"other devices. The attributes blaze.id and blaze.rev of a file tell which record it is:\n"
	"getfattr -n blaze.id FILE.\n";

void special_peer_name(const struct device *peers, size_t i, char out[SPECIAL_PEER_NAME_BYTES])
{
	const char *name = peers[i].name;
	bool clear = name[0] && name[0] != '.' && !strchr(name, '/');

	for (size_t k = 0; k < i && clear; k++)
		clear = strcmp(peers[k].name, name) != 0;
	if (clear) {
		memcpy(out, name, strlen(name) + 1);
		return;
	}
	device_label(&peers[i], out);
	for (char *p = out; *p; p++) {
		if (*p == '/')
			*p = '_';
	}
}

void special_put_rtt(const struct peer_status *p, struct buf *out)
{
	if (p->rtt_us < 0)
		buf_printf(out, "-1\n");
	else
		buf_printf(out, "%lld.%03d\n", (long long)(p->rtt_us / 1000),
			   (int)(p->rtt_us % 1000));
}

void special_put_seen(const struct peer_status *p, struct buf *out)
{
	if (p->last_seen_ms == 0)
		buf_printf(out, "never");
	else
		special_conflicts_put_time(p->last_seen_ms, out);
	buf_u8(out, '\n');
}

void special_put_fingerprint(struct db *db, uint64_t actor, struct buf *out)
{
	struct device d;
	char label[DEVICE_LABEL_BYTES];

	if (db_member(db, actor, &d) < 0)
		return;
	device_label(&d, label);
	buf_printf(out, "%s\n", label);
}
