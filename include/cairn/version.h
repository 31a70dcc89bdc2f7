/* The version of these headers; CMake reads it from here. */
#ifndef CAIRN_VERSION_H
#define CAIRN_VERSION_H

#define CAIRN_VERSION_MAJOR 0
#define CAIRN_VERSION_MINOR 1
#define CAIRN_VERSION_PATCH 0

/* The version of the library that the program runs with, such as "0.1.0". */
const char *cairn_version(void);

#endif
