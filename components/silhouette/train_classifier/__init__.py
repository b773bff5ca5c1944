"""Train a classifier of person crops: timm for the network, Lightning for the loop.

Reads:    a folder of crops (`silhouette.contracts.crops`), the recipe (`silhouette.config.TrainingConfig`).
Writes:   `checkpoints/best.ckpt` (and `epoch-*.ckpt`, where an average is asked for), `csv_logs/metrics.csv`,
          `train_batches/*.png`, `training.json` (`silhouette.contracts.training`).
Talks to: the store, where the checkpoints are kept during training and a killed run takes up again;
          Weights & Biases, offline unless WANDB_API_KEY is set; timm's hub only for a backbone whose weights
          no installed package carries.

    train        the work: `train_classifier`
    fitting      what one process of it does
    ranks        a process for each device
    backbones    names, weights, `auto`
    crop_data    what the network is shown, balance of classes
    augment      other views of a crop: geometry, backgrounds, colour
    classifier   loss, optimizer, schedule, validation
    records      callbacks: metrics.csv, log lines, pictures of what the network saw
    checkpoints  best and last checkpoint, in the folder and in the store
    average      the mean of the best epochs' weights, judged beside the best one
    tune         a search for a better recipe, here; search: by workers that share it
    tracking     Weights & Biases
"""
