/*
 * Names from other devices are hostile. An operation with a bad name is kept, so that replicas converge,
 * and shown under an escaped one.
 */
#ifndef BLAZE_CORE_NAME_H
#define BLAZE_CORE_NAME_H

#include "core/bytes.h"

#define NAME_BYTES_MAX 255

/**
 * Whether a name can be shown as it is: 1 to 255 bytes of valid UTF-8 without '/', NUL, control
 * characters, bidirectional controls or zero-width characters; not ".", "..", or a spelling of ".blaze".
 */
bool name_is_plain(struct slice name);
/** Whether a name is a spelling of ".blaze": in any case, zero-width characters ignored. */
bool name_is_reserved(struct slice name);
/**
 * The name to show: the name itself if plain; else every offending byte as %XX, shortened to fit, and
 * `suffix` ("~1a2b3c4d") in front of the extension. A plain name with a suffix gets it likewise.
 */
char *name_show(struct slice name, const char *suffix);

#endif
