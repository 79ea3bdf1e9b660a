/*
 * A database opened in this process, with as much around it as is needed: what a command's `serve` works
 * on, whether the process is the mount's daemon or the command itself.
 *
 * Opened in the order keys, database, files, network; closed in reverse, so that the files layer can still
 * publish what it holds back and the network can still send it.
 */
#ifndef BLAZE_CLI_SERVICE_H
#define BLAZE_CLI_SERVICE_H

#include "cli/out.h"
#include "core/db.h"
#include "core/report.h"
#include "core/status.h"
#include "fs/vfs.h"
#include "net/net.h"

struct control;

struct service {
	char *home;
	char *name; /**< of the database's directory */
	char *dir;
	struct keys *keys;
	struct db *db;
	struct vfs *vfs; /**< NULL: the files layer is not up */
	struct status *status;
	struct net *net; /**< NULL: the network is not up */
	/* The daemon only: */
	char *mountpoint; /**< NULL: not mounted */
	struct control *control;
	/** Takes the mount away, which ends the daemon; -EBUSY when files are open. */
	int (*unmount)(struct service *s, struct why *why);
};

/**
 * Opens keys and database. 0, or an exit code, the error being said to out. May change this process'
 * user (home_become_owner). service_close() in either case.
 */
int service_open(struct service *s, const char *home, const char *name, struct out *out);
/** Brings up the files layer. 0 or an exit code. */
int service_open_files(struct service *s, uid_t uid, gid_t gid, struct out *out);
/**
 * Brings up the network. listen: "A:P", "none" (and forget the address), or NULL = the remembered one, if
 * any. An address given is remembered as really bound. 0 or an exit code.
 */
int service_open_net(struct service *s, const char *listen, struct out *out);
/** Remembers the address net really listens on. */
void service_remember_listen(struct service *s);
/** What is held is published; then peers that are connected get up to flush_ms to take it. */
void service_close_files(struct service *s, uint64_t flush_ms);
void service_close(struct service *s);

/** Waits for what a program has just removed to become a change: a second or so. */
void service_settle(struct service *s);
/** After a command: the programs of this computer see what it did. */
void service_told(struct service *s);

/** The facts for core/report.h. Borrows from s. */
struct report_source service_report(const struct service *s);
/** Changes that no or not every other device has; 0 without peers. */
uint64_t service_unsent(const struct service *s);
/** Changes made here, of which "all are on …" speaks. */
uint64_t service_change_count(const struct service *s);
/** Called a few times a second while something is waited for. */
struct service_progress {
	void (*tick)(void *ctx);
	void *ctx;
};

/**
 * Waits until nothing is held back and every change is acknowledged by every peer: 0, and how many
 * changes that are; -ETIMEDOUT at
 * monotonic deadline_ms; -ECANCELED when out says so. progress may be NULL.
 */
int service_wait_acked(struct service *s, struct out *out, uint64_t deadline_ms,
		       const struct service_progress *progress, uint64_t *ret_count);
/** "ana-desk", "ana-desk and phone", "3 other devices"; lacking: only those that lack changes. */
void service_peer_names(const struct service *s, bool lacking, struct buf *out);

#endif
