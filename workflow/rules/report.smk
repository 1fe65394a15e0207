all_tables = of_experiments(layout.ERRORS, PROJECT.config.experiments)
all_figures = []
