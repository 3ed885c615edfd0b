/*
 * Throughput of System V ipc: prints nanoseconds for each of semop(2), msgsnd(2) with msgrcv(2), and a MiB of
 * shared memory made, attached, written, detached and removed; the median of several batches of each.
 *
 * With an argument, under a filter that denies nothing: the kernel's price of any filter.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <time.h>

#define BATCHES 15
#define MIB (1 << 20)

static int check(int done, const char *doing)
{
	if (done < 0) {
		fprintf(stderr, "ipc: %s: %s\n", doing, strerror(errno));
		exit(1);
	}
	return done;
}

static double now(void)
{
	struct timespec t;
	check(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t), "clock_gettime");
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void semaphores(int count)
{
	int set = check(semget(IPC_PRIVATE, 1, 0600), "semget");
	for (int i = 0; i < count; i++) {
		struct sembuf op = { .sem_num = 0, .sem_op = i % 2 ? -1 : 1 };
		check(semop(set, &op, 1), "semop");
	}
	check(semctl(set, 0, IPC_RMID), "semctl");
}

static void messages(int count)
{
	struct { long type; char text[64]; } message = { .type = 1 };
	int queue = check(msgget(IPC_PRIVATE, 0600), "msgget");
	for (int i = 0; i < count; i++) {
		check(msgsnd(queue, &message, sizeof message.text, 0), "msgsnd");
		check((int)msgrcv(queue, &message, sizeof message.text, 0, 0), "msgrcv");
	}
	check(msgctl(queue, IPC_RMID, NULL), "msgctl");
}

static void memory(int count)
{
	for (int i = 0; i < count; i++) {
		int segment = check(shmget(IPC_PRIVATE, MIB, 0600), "shmget");
		void *at = shmat(segment, NULL, 0);
		check(at == (void *)-1 ? -1 : 0, "shmat");
		memset(at, i + 1, MIB);
		check(shmdt(at), "shmdt");
		check(shmctl(segment, IPC_RMID, NULL), "shmctl");
	}
}

static int order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void measure(const char *name, void (*work)(int), int count)
{
	double took[BATCHES];
	work(count / 4);
	for (int i = 0; i < BATCHES; i++) {
		double start = now();
		work(count);
		took[i] = (now() - start) / count;
	}
	qsort(took, BATCHES, sizeof *took, order);
	printf("%s %.1f\n", name, took[BATCHES / 2]);
}

int main(int argc, char **argv)
{
	(void)argv;
	if (argc > 1) {
		struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
		struct sock_fprog filter = { .len = 1, .filter = &allow };
		check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS");
		check(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), "PR_SET_SECCOMP");
	}
	measure("semop", semaphores, 20000);
	measure("msgsnd+msgrcv", messages, 10000);
	measure("shm", memory, 10);
	return fflush(stdout) ? 1 : 0;
}
