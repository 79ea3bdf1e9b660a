/* The version, as CMake says it. */
#ifndef BLAZE_CLI_VERSION_H
#define BLAZE_CLI_VERSION_H

#ifndef BLAZE_VERSION
#define BLAZE_VERSION "0.1.0"
#endif

#endif
