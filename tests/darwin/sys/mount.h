/* Of macOS: statfs(2), getmntinfo(3), unmount(2). */
#ifndef BLAZE_TESTS_DARWIN_SYS_MOUNT_H
#define BLAZE_TESTS_DARWIN_SYS_MOUNT_H

#define MNT_FORCE 0x80000
#define MNT_NOWAIT 2

struct statfs {
	char f_fstypename[16];
	char f_mntonname[1024];
	char f_mntfromname[1024];
};

int statfs(const char *path, struct statfs *ret);
int getmntinfo(struct statfs **ret, int flags);
int unmount(const char *path, int flags);

#endif
