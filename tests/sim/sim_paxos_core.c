/* The simulator over bare cores. */
#include "core_member.h"
#include "paxos_main.h"

int main(int argc, char **argv)
{
    return pw_main(&cm_kind, argc, argv);
}
