/* A check that ends the program, for tests that need nothing else. */
#ifndef BLAZE_TESTS_UNIT_CHECK_H
#define BLAZE_TESTS_UNIT_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(x)                                                                      \
	do {                                                                          \
		if (!(x)) {                                                           \
			(void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
			exit(1);                                                      \
		}                                                                     \
	} while (0)

#endif
