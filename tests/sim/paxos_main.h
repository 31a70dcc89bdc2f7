/* The command line of the simulators of consensus; see paxos_main.c. */
#ifndef CAIRN_TESTS_SIM_PAXOS_MAIN_H
#define CAIRN_TESTS_SIM_PAXOS_MAIN_H

#include "paxos_world.h"

int pw_main(const pw_kind *kind, int argc, char **argv);

#endif
