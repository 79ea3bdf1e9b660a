/*
 * UNIX SOCKET: devices of the same user on the same machine find each other in a directory of sockets, one for
 * every device that has something mounted. Whoever connects there has to be the same user (SO_PEERCRED), and proves its
 * keys as everywhere.
 *
 *   $XDG_RUNTIME_DIR/blaze/net/ACTOR.sock, or else /tmp/blaze-UID/net/…   (0600 in 0700)
 *
 * BLAZE_LOCAL=0 in the environment turns it off.
 */
#ifndef BLAZE_NET_LOCAL_H
#define BLAZE_NET_LOCAL_H

#include "net/endpoint.h"

/**
 * The user's directory for `purpose` ("net", "pair"), made if need be; NULL when there is none that only this user
 * can write to. Caller frees.
 */
char *local_directory(const char *purpose);

/** Where this device listens. false: there is no such place. */
bool local_endpoint(uint64_t actor, struct endpoint *ret);
/** Whether a socket is there. It may be one that a dead process left. */
bool local_is_there(const struct endpoint *e);
/** A listening socket there. -EADDRINUSE: another process answers there already. */
int local_listen(const struct endpoint *e);
/** Takes it away again. */
void local_unlisten(const struct endpoint *e);
/** Whether both ends of this Unix socket are of the same user. */
bool local_is_own_user(int fd);

#endif
