/* The simulator over replicas. */
#include "paxos_main.h"
#include "replica_member.h"

int main(int argc, char **argv)
{
    return pw_main(&rm_kind, argc, argv);
}
