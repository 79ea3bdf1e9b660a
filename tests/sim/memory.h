/*
 * Stores of the simulator: the lower half of core/store.h in memory (memory.c) or on LevelDB
 * (leveldb.c). A store is known by its directory and outlives store_close(), as a disk does.
 */
#ifndef BLAZE_TESTS_SIM_MEMORY_H
#define BLAZE_TESTS_SIM_MEMORY_H

#include "core/store.h"

/** Notes what the store of `dir` holds, for disk_restore(). The store is closed. */
void disk_save(const char *dir);
/** Makes it what it was then. */
void disk_restore(const char *dir);
/** From here on, what is written is lost: the process is gone, though it does not know yet. */
void disk_freeze(const char *dir);
/**
 * After the store was closed: ends the freeze. cut: the power failed, and of the batches written since
 * the last barrier only the first n % (their number + 1) are left.
 */
void disk_thaw(const char *dir, bool cut, uint32_t n);
/** Whether all that was written survives a power cut. */
bool disk_is_durable(const char *dir);
/** Whether two closed or open stores hold the same under keys that begin with c. */
bool disk_same(const char *a, const char *b, uint8_t c);

#endif
