/* The subcommands of `cairn`: one function a command, called with argv[0] = the command's name; it returns the exit
 * code. */
#ifndef CAIRN_CLI_CLI_H
#define CAIRN_CLI_CLI_H

int cairn_cli_run(int argc, char **argv);
int cairn_cli_list(int argc, char **argv);
int cairn_cli_show(int argc, char **argv);
int cairn_cli_verify(int argc, char **argv);
int cairn_cli_prune(int argc, char **argv);
int cairn_cli_stop(int argc, char **argv);
int cairn_cli_kv(int argc, char **argv);
int cairn_cli_data(int argc, char **argv);

#endif
