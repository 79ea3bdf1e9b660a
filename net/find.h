/*
 * FIND: where the inviter of a pairing code can be reached. On this machine, for the same user, there is a directory
 * with a file for every code that waits: named by the nameplate, it says who waits and at which addresses.
 *
 *   $XDG_RUNTIME_DIR/blaze/pair/N, or else /tmp/blaze-UID/pair/N: "PID ADDR ADDR…\n"
 */
#ifndef BLAZE_NET_FIND_H
#define BLAZE_NET_FIND_H

#include "net/endpoint.h"

/**
 * Takes a free nameplate and says there where this process can be reached. *ret_path is what find_withdraw() gets; NULL when
 * there is no such directory: the nameplate is valid all the same, for who is told the address.
 */
uint32_t find_publish(char (*addresses)[ENDPOINT_TEXT_BYTES], size_t count, char **ret_path);
/** Frees path. NULL is allowed. */
void find_withdraw(char *path);
/** Addresses of who waits under this nameplate. Returns the count, 0 = nobody here. */
size_t find_lookup(uint32_t nameplate, char (*out)[ENDPOINT_TEXT_BYTES], size_t max);

#endif
