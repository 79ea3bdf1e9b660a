/* A listing of a directory of .blaze/: made when it is opened, and read until it is closed. */
#ifndef BLAZE_FS_SPECIAL_LIST_H
#define BLAZE_FS_SPECIAL_LIST_H

#include "fs/special.h"

/** Empty. special_closedir() it. */
struct special_dir *special_list_create(void);
/** name is copied, and at most NAME_BYTES_MAX long. */
void special_list_add(struct special_dir *d, const char *name, uint64_t ino, mode_t type);

#endif
