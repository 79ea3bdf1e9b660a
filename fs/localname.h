/*
 * Which names stay on their device, and which are held back for a moment because they look temporary.
 */
#ifndef BLAZE_FS_LOCALNAME_H
#define BLAZE_FS_LOCALNAME_H

#include "core/base.h"

/** Editors' swap and backup files, locks, file managers' litter, `.git`, SQLite's journals: never published. */
bool localname_is_local(const char *name);
/**
 * A name that a program may be about to rename over another: with a suffix or infix like mkstemp's, or
 * ".new", ".bak" and their kind. Published only after a moment of quiet.
 */
bool localname_is_temporary(const char *name);
/**
 * Whether something that a program may have added ends the name: a number, or six letters. Few names do, so
 * that few are looked at more closely.
 */
bool localname_is_longer(const char *name);
/**
 * The length of the next shorter name, below len, of which `name` may be a temporary variant; 0 = none. Of
 * "r.json.Xy12Zq" these are "r.json" and "r".
 */
size_t localname_stem(const char *name, size_t len);
bool localname_is_json(const char *name);
/**
 * Whether `name` is made from `record`, the way programs name what will replace it: ".record.Xy12Zq",
 * "record.new", "record___jb_tmp___".
 */
bool localname_is_variant(const char *name, const char *record);

#endif
