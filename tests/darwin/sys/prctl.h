/* macOS has no such header. */
#error "only core/platform_linux.c may include <sys/prctl.h>"
