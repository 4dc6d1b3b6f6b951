#!/bin/bash
#SBATCH --job-name=reenact
#SBATCH --array=0-7
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=06:00:00
#SBATCH --requeue
# A campaign as a job array: `sbatch campaign.sh` in the folder where `target/sim/reenact` was built.
#
# Slurm tells each task its number and how many there are. A task that is requeued goes on where it was. When all have
# ended, `reenact corpus merge` brings their folders together.
set -euo pipefail
exec target/sim/reenact fuzz --minutes 330 --shard auto --jobs "${SLURM_CPUS_PER_TASK:-1}" \
    --corpus "corpus/$SLURM_ARRAY_TASK_ID" --new-build
