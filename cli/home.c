/* The device's directory, its key, its databases. */
#include "cli/home.h"

#include "core/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAMES_MAX 1024
#define HOST_BYTES_MAX 255
#define JOINING ".joining-"

static const char *env(const char *name)
{
	const char *v = getenv(name);

	return v && v[0] ? v : NULL;
}

int home_find(char **ret, struct why *why)
{
	const char *home = env("BLAZE_HOME");

	if (home) {
		AUTO(free_ptr) char *cwd = home[0] == '/' ? xstrdup("") : getcwd(NULL, 0);

		if (!cwd)
			return why_set(why, -errno,
				       "BLAZE_HOME is relative, and the current directory is gone");
		*ret = home[0] == '/' ? xstrdup(home) : xasprintf("%s/%s", cwd, home);
		return 0;
	}
	const char *data = env("XDG_DATA_HOME");
	if (data && data[0] == '/') {
		*ret = xasprintf("%s/blaze", data);
		return 0;
	}
	const char *user_home = env("HOME");
	const struct passwd *pw = user_home ? NULL : getpwuid(getuid());

	if (pw && pw->pw_dir[0] == '/')
		user_home = pw->pw_dir;
	if (!user_home)
		return why_set(why, -ENOENT, "no home directory for uid %u: set BLAZE_HOME",
			       (unsigned)getuid());
	*ret = xasprintf("%s/.local/share/blaze", user_home);
	return 0;
}

int home_create(const char *home, struct why *why)
{
	AUTO(free_ptr) char *path = xstrdup(home);

	for (char *p = path + 1;; p++) {
		bool last = *p == 0;

		if (*p != '/' && !last)
			continue;
		*p = 0;
		if (mkdir(path, 0700) < 0 && errno != EEXIST)
			return why_set(why, -errno,
				       "cannot create %s: %s: set BLAZE_HOME to another place",
				       path, strerror(errno));
		if (last)
			return 0;
		*p = '/';
	}
}

bool home_name_is_valid(const char *name)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t n = strlen(name);

	return n > 0 && n <= HOME_NAME_BYTES_MAX && name[strspn(name, letters)] == 0 &&
	       !strchr("._-", name[0]) && strcmp(name, "device.key") != 0 &&
	       strcmp(name, "net.lock") != 0 && strcmp(name, "net.sock") != 0;
}

char *home_database(const char *home, const char *name)
{
	return xasprintf("%s/%s", home, name);
}

bool home_has_database(const char *home, const char *name)
{
	AUTO(free_ptr) char *format = xasprintf("%s/%s/format", home, name);

	return home_name_is_valid(name) && access(format, F_OK) == 0;
}

static int name_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

size_t home_names(const char *home, char ***ret)
{
	DIR *d = opendir(home);
	const struct dirent *e = NULL;
	size_t n = 0;

	*ret = xcalloc(NAMES_MAX, sizeof(**ret));
	while (d && n < NAMES_MAX && (e = readdir(d))) {
		if (home_has_database(home, e->d_name))
			(*ret)[n++] = xstrdup(e->d_name);
	}
	if (d)
		(void)closedir(d);
	qsort(*ret, n, sizeof(**ret), name_cmp);
	return n;
}

void home_names_free(char **names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(names[i]);
	free(names);
}

/* The host's name up to the first dot: what people call the machine. */
static void default_device_name(char out[DEVICE_NAME_BYTES_MAX + 1])
{
	char host[HOST_BYTES_MAX + 1] = "";

	(void)gethostname(host, sizeof(host) - 1);
	host[strcspn(host, ".")] = 0;
	(void)snprintf(out, DEVICE_NAME_BYTES_MAX + 1, "%.*s", DEVICE_NAME_BYTES_MAX,
		       host[0] ? host : "device");
}

int home_keys(const char *home, const char *device_name, struct keys **ret, struct why *why)
{
	AUTO(free_ptr) char *path = xasprintf("%s/device.key", home);
	char name[DEVICE_NAME_BYTES_MAX + 1];

	if (access(path, F_OK) == 0 || !device_name)
		return keys_load(path, ret, why);
	if (strlen(device_name) > DEVICE_NAME_BYTES_MAX)
		return why_set(why, -EINVAL, "a device's name has at most %d bytes",
			       DEVICE_NAME_BYTES_MAX);
	if (device_name[0])
		(void)snprintf(name, sizeof(name), "%s", device_name);
	else
		default_device_name(name);
	int r = keys_create(path, name, ret, why);
	/* Another command made it just now: this device is whoever that one said. */
	return r == -EEXIST ? keys_load(path, ret, why) : r;
}

/* Called by root only, whose setgid() and setuid() change the saved ids, too. */
static int become(const struct passwd *pw, struct why *why)
{
	if (initgroups(pw->pw_name, pw->pw_gid) < 0 || setgid(pw->pw_gid) < 0 ||
	    setuid(pw->pw_uid) < 0)
		return why_set(why, -errno, "cannot become user %s: %s", pw->pw_name,
			       strerror(errno));
	return 0;
}

int home_become_owner(const char *dir, struct why *why)
{
	struct stat st;

	if (geteuid() != 0 || stat(dir, &st) < 0 || st.st_uid == 0)
		return 0;
	const struct passwd *pw = getpwuid(st.st_uid);
	if (pw)
		return become(pw, why);
	/* A user without a name, as in a container: its group alone. */
	if (setgroups(0, NULL) < 0 || setgid(st.st_gid) < 0 || setuid(st.st_uid) < 0)
		return why_set(why, -errno, "cannot become uid %u: %s", (unsigned)st.st_uid,
			       strerror(errno));
	return 0;
}

int home_become_user(const char *user, struct why *why)
{
	char *end = NULL;
	unsigned long uid = strtoul(user, &end, 10);
	const struct passwd *pw =
		user[0] >= '0' && user[0] <= '9' && !*end ? getpwuid((uid_t)uid) : getpwnam(user);

	if (!pw) {
		AUTO(free_ptr) char *shown = log_quote(user, strlen(user));
		return why_set(why, -ENOENT, "no such user: %s", shown);
	}
	if (geteuid() == pw->pw_uid)
		return 0;
	if (geteuid() != 0)
		return why_set(why, -EPERM, "only root can mount for user %s", pw->pw_name);
	return become(pw, why);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	(void)remove(path);
	return 0;
}

void home_discard(const char *dir)
{
	(void)nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

char *home_joining(const char *home)
{
	DIR *d = opendir(home);
	const struct dirent *e = NULL;

	while (d && (e = readdir(d))) {
		if (strncmp(e->d_name, JOINING, strlen(JOINING)) != 0)
			continue;
		long pid = strtol(e->d_name + strlen(JOINING), NULL, 10);
		if (pid <= 0 || pid > INT_MAX || (kill((pid_t)pid, 0) < 0 && errno == ESRCH)) {
			AUTO(free_ptr) char *left = xasprintf("%s/%s", home, e->d_name);
			home_discard(left);
		}
	}
	if (d)
		(void)closedir(d);
	return xasprintf("%s/" JOINING "%ld", home, (long)getpid());
}
